"""Linear layers: one matrix product a member, whatever leads."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from adamtune.engines.batching.activation import computed, kept
from adamtune.engines.batching.members import bind, dense, for_members
from adamtune.engines.native import kernels
from adamtune.engines.native.loader import handles


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``input [..., in]`` times ``weight [out, in]``, plus ``bias [out]``. Other shapes are left to torch."""
    fitting = weight.dim() == 2 and input.shape[-1:] == weight.shape[1:]
    if not fitting or (bias is not None and bias.shape != weight.shape[:1]):
        return F.linear(input, weight, bias)
    rows = input.reshape(-1, input.shape[-1])
    shape = *input.shape[:-1], weight.shape[0]
    if handles(input, weight, bias):
        given = (rows, weight) if bias is None else (rows, weight, bias)

        def layer(activation: int) -> Tensor:
            settings = (None, activation) if bias is None else (activation,)
            return for_members(bind(_Kernel, *settings), *given).view(shape)

        return computed(layer, *given)
    product = for_members(_Products.apply, rows, weight)
    return (product if bias is None else product + bias).view(shape)


class _Products(torch.autograd.Function):
    """``x [members, rows, in]``, ``weight [members, out, in]``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        if weight.shape[1] == 1:  # BLAS multiplies by a vector four times as fast from the left
            return torch.bmm(weight, x.transpose(1, 2)).transpose(1, 2)
        return torch.bmm(x, weight.transpose(1, 2))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor]:
        x, weight = ctx.saved_tensors
        by_x = torch.bmm(gradient, weight) if ctx.needs_input_grad[0] else None
        # Transposed on the left, so that the result lies in memory as the weight does.
        return by_x, torch.bmm(gradient.transpose(1, 2), x)


class _Kernel(torch.autograd.Function):
    """The same with ``bias [members, out]`` and an activation, in blocks of rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, activation: int) -> Tensor:
        x, weight = dense(x), weight.contiguous()
        y: Tensor
        y, before = kernels.linear.call(x, weight, bias if bias is None else bias.contiguous(), activation)
        ctx.save_for_backward(x, weight, kept(activation, y, before))
        ctx.activation = activation
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None]:
        needs_x, _, needs_bias, _ = ctx.needs_input_grad
        by_x, by_weight, by_bias, _ = kernels.linear_backward.call(
            gradient.contiguous(), *ctx.saved_tensors, ctx.activation, needs_x
        )
        return by_x if needs_x else None, by_weight, by_bias if needs_bias else None, None
