"""Batching rules of scaled dot-product attention (Vaswani et al., 2017) and of splitting its inputs."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from adamtune.engines.batching.dropout import dropout
from adamtune.engines.batching.members import for_members, spacing, with_settings
from adamtune.engines.native import kernels
from adamtune.engines.native.loader import handles

FITTING = 1 << 15
"""The most scores of a head that the kernel computes: it keeps them in a core's cache."""


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
    """Attention ``[batch, heads, length, width]``. Under ``vmap`` alone, torch computes members one by one.

    Calls with a mask or grouped queries are left to torch.
    """
    if attn_mask is not None or enable_gqa:
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    scale = float(query.shape[-1] ** -0.5) if scale is None else scale
    # The kernel takes queries, keys and values of one shape, which is what self-attention has.
    alike = query.dim() == 4 and query.shape == key.shape == value.shape
    if (
        scale > 0
        and not dropout_p
        and alike
        and query.shape[-2] ** 2 <= FITTING
        and handles(query, key, value)
    ):
        function = with_settings(_AttentionKernel, scale, is_causal)
        return for_members(function, query, key, value).transpose(1, 2)
    # The queries are scaled, not the scores, which usually are more numbers.
    scores = (query * scale) @ key.transpose(-2, -1)
    if is_causal:
        # Adding minus infinity is much faster than masked_fill.
        future = torch.full(scores.shape[-2:], -torch.inf, dtype=scores.dtype, device=scores.device).triu(1)
        scores = scores + future
    return dropout(torch.softmax(scores, -1), dropout_p) @ value


class _AttentionKernel(torch.autograd.Function):
    """Attention by the kernel, one head at a time.

    ``query``, ``key`` and ``value [members, batch, heads, length, width]`` -> ``[members, batch, length,
    heads, width]``. Where the three are slices of one tensor, so are their gradients: ``_Unbind`` then joins
    them without a copy.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scale: float, causal: bool) -> Tensor:
        given = [_contiguous_rows(each) for each in (query, key, value)]
        y, weights, _ = kernels.attention.call(*given, scale, causal)
        ctx.save_for_backward(*given, weights)
        ctx.settings = scale, causal
        return y  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        packed = spacing(ctx.saved_tensors[:3]) is not None
        gradients, _ = kernels.attention_backward.call(
            _contiguous_rows(gradient.transpose(2, 3)), *ctx.saved_tensors, *ctx.settings, packed
        )
        query, key, value = (each.transpose(2, 3) for each in gradients.unbind(3 if packed else 0))
        return query, key, value, None, None


def _contiguous_rows(tensor: Tensor) -> Tensor:
    """The tensor with stride 1 in the last dimension and any others before, as the kernel takes it."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices along a dimension, each with a dimension less."""
    # One further: the tensors of all members have members in front.
    return tuple(for_members(with_settings(_Unbind, dim % input.dim() + 1), input))


class _Unbind(torch.autograd.Function):
    """``x [members, ...]`` to its slices along ``dim``; gradients that are slices already are not copied."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int) -> tuple[Tensor, ...]:
        ctx.dim = dim
        return x.unbind(dim)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        step = spacing(gradients)
        if step is None:
            return torch.stack(gradients, ctx.dim), None
        # They are equally spaced slices of one tensor: that tensor is the gradient.
        first, dim = gradients[0], ctx.dim
        shape = *first.shape[:dim], len(gradients), *first.shape[dim:]
        strides = *first.stride()[:dim], step, *first.stride()[dim:]
        return first.as_strided(shape, strides), None
