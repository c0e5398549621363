"""Lion, which torch does not have: the class ``Lion`` is a ``torch.optim`` optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from adamtune.catalog import decay, positive
from adamtune.optimizers.base import BETA1, DECOUPLED, Optimizer, Values

if TYPE_CHECKING:
    from torch import Tensor


def rule(values: Values, step: Tensor, lr: Tensor) -> Mapping[str, Tensor | float]:
    """x = (1 - lr weight_decay) x - lr sign(beta1 m + (1 - beta1) g), then m = beta2 m + (1 - beta2) g."""
    beta1, beta2 = values["beta1"], values["beta2"]
    return {
        "sign": 1.0,
        "sign_lr": lr,
        "from_avg": beta1,
        "from_gradient": 1 - beta1,
        "avg_decay": beta2,
        "avg_gain": 1 - beta2,
        "shrink": 1 - lr * values["weight_decay"],
    }


LION = Optimizer(
    name="lion",
    summary="The sign of a running mean of the gradient, with decoupled weight decay",
    reference="Chen et al., arXiv:2302.06675",
    hyperparameters=(
        positive("lr", 1e-4, "learning rate"),
        replace(BETA1, summary="weight of the running mean beside the gradient, in the step"),
        decay("beta2", 0.99, "decay of the gradient's running mean", complement=True),
        replace(DECOUPLED, default=0.0),
    ),
    torch_class="adamtune.optimizers.lion:Lion",
    rule=rule,
)


@cache
def _torch_class() -> type:
    import torch
    from torch.optim.optimizer import ParamsT

    from adamtune.optimizers.torch_base import ElementwiseOptimizer

    class Lion(ElementwiseOptimizer):
        """Steps of length lr along the sign of a mean of gradients.

        With the gradient g and its running mean m, zero at first::

            x = (1 - lr weight_decay) x - lr sign(beta1 m + (1 - beta1) g)
            m = beta2 m + (1 - beta2) g

        Chen et al., Symbolic Discovery of Optimization Algorithms, 2023, arXiv:2302.06675.

        Args:
            params: parameters or parameter groups.
            lr: learning rate, at least 0; a third to a tenth of AdamW's.
            betas: weight of m in the step, and decay of m, in [0, 1).
            weight_decay: decoupled decay, at least 0.

        Raises:
            ValueError: a value is out of its range.
        """

        def __init__(
            self,
            params: ParamsT,
            lr: float = 1e-4,
            betas: tuple[float, float] = (0.9, 0.99),
            weight_decay: float = 0.0,
        ) -> None:
            super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

        def update(
            self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]
        ) -> None:
            """One step of one parameter."""
            beta1, beta2 = group["betas"]
            mean = state.setdefault("exp_avg", torch.zeros_like(parameter))
            # Before the mean is updated: the step weighs the gradient by beta1, the mean by beta2.
            direction = (beta1 * mean + (1 - beta1) * gradient).sign_()
            parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(direction, alpha=group["lr"])
            mean.mul_(beta2).add_(gradient, alpha=1 - beta2)

    Lion.__qualname__ = "Lion"  # so that pickle finds it
    return Lion


def __getattr__(name: str) -> Any:
    """``Lion`` is made when it is first asked for, because its base class is torch's."""
    if name == "Lion":
        return _torch_class()
    raise AttributeError(name)
