"""AdaBound: Luo et al., arXiv:1902.09843, as ``adamtune.optimizers.adabound.AdaBound``."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from adamtune.optimizers.coefficients import Coefficients, coefficients_like
from adamtune.optimizers.rules.adam import moments


def coefficients(hyperparameters: Mapping[str, Tensor], step: Tensor, lr: Tensor) -> Coefficients:
    """Adam whose elementwise step size is clipped to bounds around final_lr; see ``adam``.

    Step size and bounds all follow the schedule, so its factor is taken out of the clipping: an lr
    of zero then needs no division.
    """
    base, final = hyperparameters["lr"], hyperparameters["final_lr"]
    speed = hyperparameters["bound_gamma"] * step
    correction1 = 1 - hyperparameters["beta1"] ** step
    correction2 = 1 - hyperparameters["beta2"] ** step
    inverse = correction1 / (base * correction2.sqrt())
    fields = moments(hyperparameters, step, lr) | {
        "root": inverse,
        "floor": hyperparameters["eps"] * inverse,
        "low": final * (1 - 1 / (speed + 1)),
        "high": final * (1 + 1 / speed),
        "from_buffer": lr / base,
    }
    return coefficients_like(step, l2=hyperparameters["weight_decay"], **fields)
