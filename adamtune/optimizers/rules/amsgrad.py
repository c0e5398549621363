"""AMSGrad: Reddi, Kale and Kumar, ICLR 2018, as ``torch.optim.Adam(amsgrad=True)``."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from adamtune.optimizers.coefficients import Coefficients, coefficients_like
from adamtune.optimizers.rules.adam import moments


def coefficients(hyperparameters: Mapping[str, Tensor], step: Tensor, lr: Tensor) -> Coefficients:
    """Adam with the largest v so far, taken before the bias correction; see ``adam``."""
    return coefficients_like(
        step, l2=hyperparameters["weight_decay"], peak_keep=1.0, **moments(hyperparameters, step, lr)
    )
