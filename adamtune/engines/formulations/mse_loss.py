"""Mean squared error."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from adamtune.engines.formulations.members import dense, for_members
from adamtune.engines.kernels import layers
from adamtune.engines.kernels.library import handles


def mse_loss(input: Tensor, target: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """The mean of ``(input - target)`` squared. What has no kernel is left to torch."""
    settings = {name: value for name, value in kwargs.items() if value is not None}
    plain = not args and settings in ({}, {"reduction": "mean"})
    if not plain or input.shape != target.shape or not input.dim() or not handles(input, target):
        return F.mse_loss(input, target, *args, **kwargs)
    return for_members(_Kernel.apply, input.reshape(-1), target.reshape(-1))


class _Kernel(torch.autograd.Function):
    """``x`` and ``target`` ``[members, numbers]``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, target: Tensor) -> Tensor:
        x, target = dense(x), dense(target)
        ctx.save_for_backward(x, target)
        losses: Tensor = layers.mse_loss.call(x, target)
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        by_x = layers.mse_loss_backward.call(gradient.contiguous(), *ctx.saved_tensors)
        return by_x, -by_x if ctx.needs_input_grad[1] else None
