"""Rows of each member's table."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from adamtune.engines.batching.members import dense, for_members
from adamtune.engines.native import kernels
from adamtune.engines.native.loader import handles


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Of ``weight [words, width]``, those that ``input [...]`` names."""
    plain = padding_idx is None and max_norm is None and not scale_grad_by_freq and not sparse
    if not plain or input.dtype != torch.int64 or weight.dim() != 2 or not handles(weight):
        return F.embedding(input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
    found = for_members(_Kernel.apply, weight, input.reshape(-1))
    return found.view(*input.shape, weight.shape[-1])


class _Kernel(torch.autograd.Function):
    """``weight [members, words, width]``, ``index [members, rows]``."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, index: Tensor) -> Tensor:
        index = dense(index)
        ctx.save_for_backward(index)
        ctx.words = weight.shape[1]
        y: Tensor = kernels.embedding.call(weight.contiguous(), index)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        return kernels.embedding_backward.call(gradient.contiguous(), index, ctx.words), None
