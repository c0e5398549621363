"""RMSprop: Hinton, Coursera lecture 6e, 2012, as ``torch.optim.RMSprop`` (eps is added after the root)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from adamtune.optimizers.coefficients import Coefficients, coefficients_like


def coefficients(hyperparameters: Mapping[str, Tensor], step: Tensor, lr: Tensor) -> Coefficients:
    """g over the root of its running mean square; momentum gathers the normalised gradients.

    Arguments as in ``adam``.
    """
    alpha, momentum = hyperparameters["alpha"], hyperparameters["momentum"]
    buffered = momentum > 0
    return coefficients_like(
        step,
        l2=hyperparameters["weight_decay"],
        square_decay=alpha,
        square_gain=1 - alpha,
        mean_gain=(1 - alpha) * hyperparameters["centered"],
        root=1.0,
        floor=hyperparameters["eps"],
        early=buffered.double(),
        buffer_decay=momentum,
        buffer_gain=buffered.double(),
        from_buffer=torch.where(buffered, lr, 0.0),
        from_gradient=torch.where(buffered, 0.0, lr),
    )
