"""RAdam, as ``torch.optim.RAdam``: eps is added to the uncorrected root."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from adamtune.optimizers.base import (
    BETA1,
    BETA2,
    DECOUPLED_SWITCH,
    EPS,
    L2,
    LR,
    Optimizer,
    Values,
    adam_moments,
    switched_decay,
)

if TYPE_CHECKING:
    from torch import Tensor


def rule(values: Values, step: Tensor, lr: Tensor) -> Mapping[str, Tensor | float]:
    """Adam whose step is rectified once rho_t > 5, and is lr m / (1 - beta1^t) before."""
    import torch

    beta2 = values["beta2"]
    correction = 1 - beta2**step
    rho_inf = 2 / (1 - beta2) - 1
    rho = rho_inf - 2 * step * beta2**step / correction
    # torch's bound; the paper has 4.
    rectified = rho > 5
    variance = (rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)
    moments = adam_moments(values, step, lr)
    return {
        **moments,
        **switched_decay(values, lr),
        # Before that the denominator is 1: the root counts 0 times, and 1 is added.
        "root": rectified.double(),
        "floor": torch.where(rectified, values["eps"], 1.0),
        "from_avg": moments["from_avg"] * torch.where(rectified, (variance * correction).sqrt(), 1.0),
    }


RADAM = Optimizer(
    name="radam",
    summary="Adam that rectifies the variance of its early steps",
    reference="Liu et al., arXiv:1908.03265",
    hyperparameters=(LR, BETA1, BETA2, EPS, L2, DECOUPLED_SWITCH),
    torch_class="torch.optim:RAdam",
    implementation="foreach",
    rule=rule,
)
