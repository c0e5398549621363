"""SGD with momentum and Nesterov momentum: Sutskever et al., ICML 2013, as ``torch.optim.SGD``."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from adamtune.optimizers.coefficients import Coefficients, coefficients_like


def coefficients(hyperparameters: Mapping[str, Tensor], step: Tensor, lr: Tensor) -> Coefficients:
    """buffer = momentum buffer + (1 - dampening) g, without the dampening at the first step.

    Arguments as in ``adam``.
    """
    momentum, nesterov = hyperparameters["momentum"], hyperparameters["nesterov"]
    buffered = momentum > 0
    gain = torch.where(step == 1, 1.0, 1 - hyperparameters["dampening"])
    return coefficients_like(
        step,
        l2=hyperparameters["weight_decay"],
        buffer_decay=momentum,
        buffer_gain=torch.where(buffered, gain, 0.0),
        from_buffer=torch.where(buffered, lr * torch.where(nesterov > 0, momentum, 1.0), 0.0),
        from_gradient=torch.where(buffered & (nesterov == 0), 0.0, lr),
    )
