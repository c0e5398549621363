"""Scaled dot-product attention (Vaswani et al., 2017)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from adamtune.engines.batching.members import bind, for_members, step_between
from adamtune.engines.native import kernels
from adamtune.engines.native.loader import handles

FITTING = 1 << 15
"""The kernel keeps a head's scores in a core's cache: at most this many of them."""


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Attention without options: torch's fused CPU kernel has no batching rule."""
    if attn_mask is not None or dropout_p or scale is not None or enable_gqa:
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    scale = float(query.shape[-1] ** -0.5)
    alike = query.dim() == 4 and query.shape == key.shape == value.shape
    if alike and query.shape[-2] ** 2 <= FITTING and handles(query, key, value):
        return for_members(bind(_Kernel, scale, is_causal), query, key, value)
    scores = (query * scale) @ key.transpose(-2, -1)
    if is_causal:
        future = torch.full(scores.shape[-2:], -torch.inf, dtype=scores.dtype, device=scores.device).triu(1)
        scores = scores + future
    return torch.softmax(scores, -1) @ value


class _Kernel(torch.autograd.Function):
    """``query``, ``key`` and ``value [members, batch, heads, length, width]``: a head at a time.

    Where they are slices of one tensor, their gradients are, too.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scale: float, causal: bool) -> Tensor:
        given = [_rows(each) for each in (query, key, value)]
        y, weights, _ = kernels.attention.call(*given, scale, causal)
        ctx.save_for_backward(*given, weights)
        ctx.settings = scale, causal
        heads: Tensor = y.transpose(2, 3)
        return heads

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        packed = step_between(ctx.saved_tensors[:3]) is not None
        found, _ = kernels.attention_backward.call(_rows(gradient), *ctx.saved_tensors, *ctx.settings, packed)
        query, key, value = (each.transpose(2, 3) for each in found.unbind(3 if packed else 0))
        return query, key, value, None, None


def _rows(tensor: Tensor) -> Tensor:
    """With the numbers of a row side by side, whatever the strides of the rest."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


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
