"""NAdam, as ``torch.optim.NAdam``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from adamtune.catalog import non_negative, positive
from adamtune.optimizers.base import (
    BETA1,
    BETA2,
    DECOUPLED_SWITCH,
    EPS,
    L2,
    Optimizer,
    Values,
    adam_moments,
    switched_decay,
)

if TYPE_CHECKING:
    from torch import Tensor


def rule(values: Values, step: Tensor, lr: Tensor) -> Mapping[str, Tensor | float]:
    """Adam with Nesterov momentum, whose momentum mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2) grows.

    The step is lr (mu_{t+1} m / (1 - prod_{i<=t+1} mu_i) + (1 - mu_t) g / (1 - prod_{i<=t} mu_i))
    over Adam's denominator.
    """
    product = _product(values, step)
    following = _mu(values, step + 1)
    return {
        **adam_moments(values, step, lr),
        **switched_decay(values, lr),
        "from_avg": lr * following / (1 - product * following),
        "from_gradient": lr * (1 - _mu(values, step)) / (1 - product),
    }


def _mu(values: Values, step: Tensor) -> Tensor:
    return values["beta1"] * (1 - 0.5 * 0.96 ** (step * values["momentum_decay"]))


def _product(values: Values, step: Tensor) -> Tensor:
    """mu_1 * ... * mu_t for every t of ``step``, from a table.

    The product is at most beta1^t, and below 2^-60 it no longer changes 1 - product: the table of a long
    training ends there.
    """
    import torch

    beta1 = float(values["beta1"].max())
    # 60 bits: float64 has 53.
    longest = math.ceil(60 * math.log(2) / -math.log(beta1)) if beta1 > 0 else 1
    length = max(1, min(int(step.max()), longest))
    table = _mu(values, torch.arange(1, length + 1, device=step.device).unsqueeze(-1)).cumprod(0)
    return table.gather(0, step.clamp(1, length) - 1)


NADAM = Optimizer(
    name="nadam",
    summary="Adam with Nesterov momentum",
    reference="Dozat, ICLR 2016 workshop",
    hyperparameters=(
        positive("lr", 2e-3, "learning rate"),
        *(BETA1, BETA2, EPS, L2),
        non_negative("momentum_decay", 4e-3, "speed of the momentum schedule"),
        DECOUPLED_SWITCH,
    ),
    torch_class="torch.optim:NAdam",
    implementation="foreach",
    rule=rule,
)
