"""The base class of optimizers that torch does not have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT


class ElementwiseOptimizer(Optimizer):
    """A ``torch.optim`` optimizer given by its update of one parameter, ``update``.

    Args:
        params: parameters or parameter groups.
        options: the group's options and their defaults.

    Raises:
        ValueError: a number is negative, or a beta is not in [0, 1).
    """

    def __init__(self, params: ParamsT, options: Mapping[str, Any]) -> None:
        for name, value in options.items():
            if name == "betas" and not all(0 <= beta < 1 for beta in value):
                raise ValueError(f"betas must lie in [0, 1), got {value}")
            # `not value >= 0` and not `value < 0`: NaN is an error, too.
            if name != "betas" and not value >= 0:
                raise ValueError(f"{name} must be at least 0, got {value}")
        super().__init__(params, dict(options))

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
                    self.update(parameter, parameter.grad, self.state[parameter], group)
        return loss

    def update(
        self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        """Changes ``parameter`` and ``state``, which is empty before the first step, in place."""
        raise NotImplementedError
