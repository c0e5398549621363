"""A tensor's slices, such as queries, keys and values that one layer computes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from adamtune.engines.formulations.members import bind, for_members, step_between


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices along a dimension."""
    return tuple(for_members(bind(_Unbind, dim % input.dim() + 1), input))


class _Unbind(torch.autograd.Function):
    """``x [members, ...]``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int) -> tuple[Tensor, ...]:
        ctx.dim = dim
        return x.unbind(dim)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        step = step_between(gradients)
        if step is None:
            return torch.stack(gradients, ctx.dim), None
        # They are slices already: nothing needs to be copied.
        first, dim = gradients[0], ctx.dim
        shape = *first.shape[:dim], len(gradients), *first.shape[dim:]
        strides = *first.stride()[:dim], step, *first.stride()[dim:]
        return first.as_strided(shape, strides), None
