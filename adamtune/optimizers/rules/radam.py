"""RAdam: Liu et al., arXiv:1908.03265, as ``torch.optim.RAdam`` (eps beside the uncorrected root)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from adamtune.optimizers.coefficients import Coefficients, coefficients_like
from adamtune.optimizers.rules.adam import moments, weight_decay


def coefficients(hyperparameters: Mapping[str, Tensor], step: Tensor, lr: Tensor) -> Coefficients:
    """Adam whose step is rectified once rho_t > 5, and is lr m / (1 - beta1^t) before; see ``adam``."""
    beta2 = hyperparameters["beta2"]
    correction = 1 - beta2**step
    rho_inf = 2 / (1 - beta2) - 1
    rho = rho_inf - 2 * step * beta2**step / correction
    rectified = rho > 5
    variance = (rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)
    fields = moments(hyperparameters, step, lr)
    fields |= {
        "root": rectified.double(),
        "floor": torch.where(rectified, hyperparameters["eps"], 1.0),
        "from_buffer": fields["from_buffer"] * torch.where(rectified, (variance * correction).sqrt(), 1.0),
    }
    return coefficients_like(step, **weight_decay(hyperparameters, lr), **fields)
