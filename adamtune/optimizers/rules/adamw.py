"""AdamW: Loshchilov and Hutter, arXiv:1711.05101, as ``torch.optim.AdamW``."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from adamtune.optimizers.coefficients import Coefficients, coefficients_like
from adamtune.optimizers.rules.adam import moments


def coefficients(hyperparameters: Mapping[str, Tensor], step: Tensor, lr: Tensor) -> Coefficients:
    """Adam whose weights shrink by ``lr * weight_decay`` instead of an L2 penalty; see ``adam``."""
    return coefficients_like(
        step,
        shrink=1 - lr * hyperparameters["weight_decay"],
        peak_keep=hyperparameters["amsgrad"],
        **moments(hyperparameters, step, lr),
    )
