"""Adam without bias correction, for comparison only: ``AdamUncorrected`` is a ``torch.optim`` optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from adamtune.optimizers.base import BETA1, BETA2, EPS, L2, LR, Optimizer, Values

if TYPE_CHECKING:
    from torch import Tensor


def rule(values: Values, step: Tensor, lr: Tensor) -> Mapping[str, Tensor | float]:
    """The step lr m / (sqrt(v) + eps), with an L2 penalty in the gradient."""
    return {
        "l2": values["weight_decay"],
        "avg_decay": values["beta1"],
        "avg_gain": 1 - values["beta1"],
        "sq_decay": values["beta2"],
        "sq_gain": 1 - values["beta2"],
        "root": 1.0,
        "floor": values["eps"],
        "from_avg": lr,
    }


ADAM_UNCORRECTED = Optimizer(
    name="adam_uncorrected",
    summary="Adam without bias correction, to see what the correction does; for comparison only",
    reference="Kingma and Ba, arXiv:1412.6980, section 6.4",
    hyperparameters=(LR, BETA1, BETA2, EPS, L2),
    torch_class="adamtune.optimizers.adam_uncorrected:AdamUncorrected",
    rule=rule,
)


@cache
def _torch_class() -> type:
    import torch
    from torch.optim.optimizer import ParamsT

    from adamtune.optimizers.torch_base import ElementwiseOptimizer

    class AdamUncorrected(ElementwiseOptimizer):
        """Adam without bias correction: x -= lr m / (sqrt(v) + eps).

        Args:
            params: parameters or parameter groups.
            lr: learning rate.
            betas: decay of the running means of the gradient and its square, in [0, 1).
            eps: added to the root.
            weight_decay: L2 penalty, added to the gradient.

        Raises:
            ValueError: a value is out of its range.
        """

        def __init__(
            self,
            params: ParamsT,
            lr: float = 1e-3,
            betas: tuple[float, float] = (0.9, 0.999),
            eps: float = 1e-8,
            weight_decay: float = 0.0,
        ) -> None:
            super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

        def update(
            self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]
        ) -> None:
            """One step of one parameter."""
            if not state:
                zeros = torch.zeros_like(parameter)
                state.update(exp_avg=zeros, exp_avg_sq=zeros.clone())
            beta1, beta2 = group["betas"]
            if group["weight_decay"] != 0:
                gradient = gradient.add(parameter, alpha=group["weight_decay"])
            state["exp_avg"].lerp_(gradient, 1 - beta1)
            state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
            root = state["exp_avg_sq"].sqrt().add_(group["eps"])
            parameter.addcdiv_(state["exp_avg"], root, value=-group["lr"])

    AdamUncorrected.__qualname__ = "AdamUncorrected"  # so that pickle finds it
    return AdamUncorrected


def __getattr__(name: str) -> Any:
    """``AdamUncorrected`` is made when it is first asked for, because its base class is torch's."""
    if name == "AdamUncorrected":
        return _torch_class()
    raise AttributeError(name)
