"""Adamax, as ``torch.optim.Adamax``: eps is added to the gradient's absolute value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from adamtune.catalog import positive
from adamtune.optimizers.base import BETA1, BETA2, EPS, L2, Optimizer, Values

if TYPE_CHECKING:
    from torch import Tensor


def rule(values: Values, step: Tensor, lr: Tensor) -> Mapping[str, Tensor | float]:
    """lr m / (1 - beta1^t) / u with u = max(beta2 u, |g| + eps), and an L2 penalty in the gradient."""
    beta1 = values["beta1"]
    return {
        "l2": values["weight_decay"],
        "avg_decay": beta1,
        "avg_gain": 1 - beta1,
        "abs_gain": 1.0,
        # As torch does; the paper has no eps.
        "abs_floor": values["eps"],
        "max_decay": values["beta2"],
        "root": 1.0,
        "floor": 0.0,
        "from_avg": lr / (1 - beta1**step),
    }


ADAMAX = Optimizer(
    name="adamax",
    summary="Adam with the largest decayed gradient in place of the root",
    reference="Kingma and Ba, arXiv:1412.6980, section 7",
    hyperparameters=(
        positive("lr", 2e-3, "learning rate"),
        BETA1,
        replace(BETA2, summary="decay of the largest absolute gradient so far"),
        replace(EPS, summary="added to the absolute gradient"),
        L2,
    ),
    torch_class="torch.optim:Adamax",
    implementation="foreach",
    state={"exp_avg": "exp_avg", "exp_inf": "max_exp_avg_sq"},
    rule=rule,
)
