"""AdaBound, which torch does not have: the class ``AdaBound`` is a ``torch.optim`` optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from adamtune.catalog import positive
from adamtune.optimizers.base import BETA1, BETA2, EPS, L2, LR, Optimizer, Values, adam_moments

if TYPE_CHECKING:
    from torch import Tensor


def rule(values: Values, step: Tensor, lr: Tensor) -> Mapping[str, Tensor | float]:
    """Adam whose elementwise step size is clipped to bounds around final_lr.

    Step size and bounds all follow the schedule, so its factor is taken out of the clipping: an lr of zero
    then needs no division.
    """
    base, final = values["lr"], values["final_lr"]
    # At first the bounds are nearly 0 and infinity, as Adam needs; they meet at final_lr, as SGD has it.
    speed = values["bound_gamma"] * step
    inverse = (1 - values["beta1"] ** step) / (base * (1 - values["beta2"] ** step).sqrt())
    return {
        **adam_moments(values, step, lr),
        "l2": values["weight_decay"],
        "root": inverse,
        "floor": values["eps"] * inverse,
        "low": final * (1 - 1 / (speed + 1)),
        "high": final * (1 + 1 / speed),
        "from_avg": lr / base,
    }


ADABOUND = Optimizer(
    name="adabound",
    summary="Adam whose elementwise step is clipped to bounds that close in on final_lr",
    reference="Luo et al., arXiv:1902.09843",
    hyperparameters=(
        *(LR, BETA1, BETA2, EPS, L2),
        positive("final_lr", 0.1, "learning rate that the bounds close in on"),
        positive("bound_gamma", 1e-3, "speed at which the bounds close"),
    ),
    torch_class="adamtune.optimizers.adabound:AdaBound",
    renamed={"bound_gamma": "gamma"},
    rule=rule,
)


@cache
def _torch_class() -> type:
    import torch
    from torch.optim.optimizer import ParamsT

    from adamtune.optimizers.torch_base import ElementwiseOptimizer

    class AdaBound(ElementwiseOptimizer):
        """Adam whose elementwise step size is clipped to bounds that close in on ``final_lr``.

        With Adam's m and v, and t from 1::

            size = lr sqrt(1 - beta2^t) / (1 - beta1^t) / (sqrt(v) + eps)
            x   -= clip(size, final (1 - 1 / (gamma t + 1)), final (1 + 1 / (gamma t))) m
            final = final_lr lr / (the lr the optimizer was made with)

        so that a schedule moves the bounds as it moves lr. Luo et al., Adaptive Gradient Methods with
        Dynamic Bound of Learning Rate, ICLR 2019, arXiv:1902.09843; bias correction, eps and the scaling
        of final_lr are those of the authors' implementation, without the paper's 1 / sqrt(t).

        Args:
            params: parameters or parameter groups.
            lr: learning rate, above 0.
            betas: decay of the running means of the gradient and its square, in [0, 1).
            final_lr: learning rate that the bounds close in on, above 0.
            gamma: speed at which the bounds close, above 0.
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
            *,
            final_lr: float = 0.1,
            gamma: float = 1e-3,
            eps: float = 1e-8,
            weight_decay: float = 0.0,
        ) -> None:
            for name, value in {"lr": lr, "final_lr": final_lr, "gamma": gamma}.items():
                if not value > 0:
                    raise ValueError(f"{name} must be above 0, got {value}")
            options = {"lr": lr, "betas": betas, "final_lr": final_lr, "gamma": gamma, "eps": eps}
            super().__init__(params, {**options, "weight_decay": weight_decay})

        def add_param_group(self, param_group: dict[str, Any]) -> None:
            """Adds a group; its lr is what later values are compared with (kept in its ``base_lr``)."""
            super().add_param_group(param_group)
            group = self.param_groups[-1]
            # A group of another optimizer brings its own along; its lr may be a scheduled one.
            group.setdefault("base_lr", group["lr"])

        def update(
            self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]
        ) -> None:
            """One step of one parameter."""
            if not state:
                zeros = torch.zeros_like(parameter)
                state.update(step=0, exp_avg=zeros, exp_avg_sq=zeros.clone())
            state["step"] += 1
            t, (beta1, beta2) = state["step"], group["betas"]
            if group["weight_decay"] != 0:
                gradient = gradient.add(parameter, alpha=group["weight_decay"])
            state["exp_avg"].lerp_(gradient, 1 - beta1)
            state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
            size = group["lr"] * (1 - beta2**t) ** 0.5 / (1 - beta1**t)
            final = group["final_lr"] * group["lr"] / group["base_lr"]
            low, high = final * (1 - 1 / (group["gamma"] * t + 1)), final * (1 + 1 / (group["gamma"] * t))
            sizes = state["exp_avg_sq"].sqrt().add_(group["eps"]).reciprocal_().mul_(size).clamp_(low, high)
            parameter.addcmul_(sizes, state["exp_avg"], value=-1)

    AdaBound.__qualname__ = "AdaBound"  # so that pickle finds it
    return AdaBound


def __getattr__(name: str) -> Any:
    """``AdaBound`` is made when it is first asked for, because its base class is torch's."""
    if name == "AdaBound":
        return _torch_class()
    raise AttributeError(name)
