"""Adam, AdamW and AMSGrad, as ``torch.optim.Adam`` and ``torch.optim.AdamW``: eps is added after the root."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from adamtune.catalog import switch
from adamtune.optimizers.base import BETA1, BETA2, DECOUPLED, EPS, L2, LR, Optimizer, Values, adam_moments

if TYPE_CHECKING:
    from torch import Tensor


def adam_rule(values: Values, step: Tensor, lr: Tensor) -> Mapping[str, Tensor | float]:
    """Adam with an L2 penalty in the gradient."""
    return adam_moments(values, step, lr) | {"l2": values["weight_decay"]}


def adamw_rule(values: Values, step: Tensor, lr: Tensor) -> Mapping[str, Tensor | float]:
    """Adam whose weights shrink by ``lr * weight_decay`` instead of an L2 penalty."""
    decayed = {"shrink": 1 - lr * values["weight_decay"], "max_decay": values["amsgrad"]}
    return adam_moments(values, step, lr) | decayed


def amsgrad_rule(values: Values, step: Tensor, lr: Tensor) -> Mapping[str, Tensor | float]:
    """Adam with the largest v so far, taken before the bias correction."""
    return {**adam_rule(values, step, lr), "max_decay": 1.0}


ADAM = Optimizer(
    name="adam",
    summary="Adam; weight decay is an L2 penalty",
    reference="Kingma and Ba, arXiv:1412.6980",
    hyperparameters=(LR, BETA1, BETA2, EPS, L2),
    torch_class="torch.optim:Adam",
    implementation="fused",
    rule=adam_rule,
)
ADAMW = Optimizer(
    name="adamw",
    summary="Adam with decoupled weight decay",
    reference="Loshchilov and Hutter, arXiv:1711.05101",
    hyperparameters=(
        *(LR, BETA1, BETA2, EPS, DECOUPLED),
        switch("amsgrad", "whether the root is taken of the largest second moment so far"),
    ),
    torch_class="torch.optim:AdamW",
    implementation="fused",
    rule=adamw_rule,
)
AMSGRAD = Optimizer(
    name="amsgrad",
    summary="Adam with the largest second moment so far",
    reference="Reddi, Kale and Kumar, ICLR 2018, arXiv:1904.09237",
    hyperparameters=(LR, BETA1, BETA2, EPS, L2),
    torch_class="torch.optim:Adam",
    constants={"amsgrad": True},
    implementation="fused",
    rule=amsgrad_rule,
)
