"""What describes an optimizer, and the hyperparameters that several optimizers share. Torch-free."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from adamtune.catalog import Entry, decay, non_negative, positive, switch

if TYPE_CHECKING:
    from torch import Tensor

Values = Mapping[str, "Tensor"]
"""Every hyperparameter of an optimizer by catalog name, float64 ``[members]``; switches are 0 or 1."""

Rule = Callable[[Values, "Tensor", "Tensor"], Mapping[str, "Tensor | float"]]
"""An update rule: ``(values, step, lr)`` to those fields of ``Coefficients`` that are not neutral.

``step`` is int64 ``[steps, members]``, 1 for the first update; ``lr`` is the scheduled learning rate, float64
``[steps, members]``; the fields broadcast to ``[steps, members]``.
"""


# The pass has torch's names, so that most optimizers need none of their own.
ADAM_STATE = {name: name for name in ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")}


def no_check(values: Mapping[str, float]) -> None:
    """Accepts every combination of hyperparameters."""


@dataclass(frozen=True)
class Optimizer(Entry):
    """An optimizer: how it is documented, configured, built in torch and trained in lockstep.

    Attributes:
        torch_class: where its ``torch.optim.Optimizer`` class is, as ``pkgutil.resolve_name`` takes it.
        rule: the scalars of its step in the population engine's elementwise pass; None where the pass cannot
            express the rule, which is then trained one member after the other.
        constants: arguments that the class is always given.
        renamed: the class's names of hyperparameters whose catalog name differs.
        state: the class's names of the state that the elementwise pass keeps, and the pass's names.
        implementation: the option of the class that is fastest on a CPU (an MLP's Adam step takes 52
            microseconds fused, 133 foreach, 159 plain). All agree up to rounding.
        check: raises ValueError for hyperparameters that do not go together; missing ones count as 0.
    """

    torch_class: str
    rule: Rule | None
    constants: Mapping[str, Any] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    state: Mapping[str, str] = field(default_factory=lambda: ADAM_STATE)
    implementation: Literal["fused", "foreach", "plain"] = "plain"
    check: Callable[[Mapping[str, float]], None] = no_check


LR = positive("lr", 1e-3, "learning rate")
BETA1 = decay("beta1", 0.9, "decay of the gradient's running mean", complement=True)
BETA2 = decay("beta2", 0.999, "decay of the squared gradient's running mean", complement=True)
EPS = non_negative("eps", 1e-8, "added to the root in the denominator")
L2 = non_negative("weight_decay", 0.0, "L2 penalty, added to the gradient")
DECOUPLED = non_negative(
    "weight_decay", 1e-2, "decoupled decay: the weights shrink by lr * weight_decay a step"
)
DECOUPLED_SWITCH = switch(
    "decoupled_weight_decay", "whether the decay shrinks the weights instead of adding to the gradient"
)
MOMENTUM = decay("momentum", 0.0, "decay of the momentum buffer")


def adam_moments(values: Values, step: Tensor, lr: Tensor) -> dict[str, Tensor | float]:
    """The fields of Adam's step without weight decay: lr m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)."""
    beta1, beta2 = values["beta1"], values["beta2"]
    return {
        "avg_decay": beta1,
        "avg_gain": 1 - beta1,
        "sq_decay": beta2,
        "sq_gain": 1 - beta2,
        "root": (1 - beta2**step).rsqrt(),
        "floor": values["eps"],
        "from_avg": lr / (1 - beta1**step),
    }


def switched_decay(values: Values, lr: Tensor) -> dict[str, Tensor | float]:
    """The fields of weight decay, decoupled or not as each member's ``decoupled_weight_decay`` says."""
    weight_decay, decoupled = values["weight_decay"], values["decoupled_weight_decay"]
    return {"l2": weight_decay * (1 - decoupled), "shrink": 1 - lr * weight_decay * decoupled}
