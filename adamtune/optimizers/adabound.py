"""AdaBound as a ``torch.optim`` optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT


class AdaBound(Optimizer):
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
        for name, value in {"eps": eps, "weight_decay": weight_decay}.items():
            if not value >= 0:
                raise ValueError(f"{name} must be at least 0, got {value}")
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas must lie in [0, 1), got {betas}")
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "final_lr": final_lr,
                "gamma": gamma,
                "eps": eps,
                "weight_decay": weight_decay,
            },
        )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group; its lr is what later values are compared with (kept in its ``base_lr``)."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        group.setdefault("base_lr", group["lr"])

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Takes one step; returns the loss if ``closure`` computes it."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state.update(step=0, exp_avg=torch.zeros_like(parameter), exp_avg_sq=torch.zeros_like(parameter))
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
