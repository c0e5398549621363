"""NAdam: Dozat, ICLR 2016 workshop, as ``torch.optim.NAdam``."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from adamtune.optimizers.coefficients import Coefficients, coefficients_like
from adamtune.optimizers.rules.adam import moments, weight_decay


def coefficients(hyperparameters: Mapping[str, Tensor], step: Tensor, lr: Tensor) -> Coefficients:
    """Adam with Nesterov momentum, whose momentum mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2) grows.

    The step is lr (mu_{t+1} m / (1 - prod_{i<=t+1} mu_i) + (1 - mu_t) g / (1 - prod_{i<=t} mu_i))
    over Adam's denominator. Arguments as in ``adam``.
    """
    product = _product(hyperparameters, step)
    following = _mu(hyperparameters, step + 1)
    fields = moments(hyperparameters, step, lr) | {
        "from_buffer": lr * following / (1 - product * following),
        "from_gradient": lr * (1 - _mu(hyperparameters, step)) / (1 - product),
    }
    return coefficients_like(step, **weight_decay(hyperparameters, lr), **fields)


def _mu(hyperparameters: Mapping[str, Tensor], step: Tensor) -> Tensor:
    return hyperparameters["beta1"] * (1 - 0.5 * 0.96 ** (step * hyperparameters["momentum_decay"]))


def _product(hyperparameters: Mapping[str, Tensor], step: Tensor) -> Tensor:
    """mu_1 * ... * mu_t for every t of ``step``, from a table.

    The product is at most beta1^t, which 1 - product no longer feels below 2^-60: the table of a
    long training ends there.
    """
    beta1 = float(hyperparameters["beta1"].max())
    felt = math.ceil(60 * math.log(2) / -math.log(beta1)) if beta1 > 0 else 1
    length = max(1, min(int(step.max()), felt))
    steps = torch.arange(1, length + 1, device=step.device).unsqueeze(-1)
    table = _mu(hyperparameters, steps).cumprod(0)
    return table.gather(0, step.clamp(1, length) - 1)
