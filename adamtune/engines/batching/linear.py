"""Batching rules of layers that look up or combine rows of each member's weights: linear and embedding."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from adamtune.engines.batching.activation import layer_result, needed_backward
from adamtune.engines.batching.members import dense, for_members, with_settings
from adamtune.engines.native import kernels
from adamtune.engines.native.loader import handles


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``input [..., in]`` times ``weight [out, in]`` transposed, plus ``bias [out]``: ``[..., out]``.

    Inputs of other shapes are left to torch.
    """
    fitting = weight.dim() == 2 and input.shape[-1:] == weight.shape[1:]
    if not fitting or (bias is not None and bias.shape != weight.shape[:1]):
        return F.linear(input, weight, bias)
    if handles(input, weight, bias):
        given = (input, weight) if bias is None else (input, weight, bias)

        def compute(activation: int) -> Tensor:
            settings = (None, activation) if bias is None else (activation,)
            return for_members(with_settings(_LinearKernel, *settings), *given)

        return layer_result(compute, *given)
    product = for_members(_LinearProducts.apply, input.reshape(-1, input.shape[-1]), weight)
    return (product if bias is None else product + bias).view(*input.shape[:-1], weight.shape[0])


def addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1, out: Any = None
) -> Tensor:
    """``input`` plus ``mat1 [rows, in]`` times ``mat2 [in, out]``: a linear layer if ``input`` is a bias.

    Calls with factors or another ``input`` are left to torch.
    """
    if beta == alpha == 1 and out is None and input.shape == mat2.shape[1:]:
        return linear(mat1, mat2.t(), input)
    return torch.addmm(input, mat1, mat2, beta=beta, alpha=alpha, out=out)


class _LinearProducts(torch.autograd.Function):
    """One matrix product a member, by torch.

    ``x [members, rows, in]``, ``weight [members, out, in]`` -> ``[members, rows, out]``.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        if weight.shape[1] == 1:  # BLAS multiplies by a vector four times as fast from the left
            return torch.bmm(weight, x.transpose(1, 2)).transpose(1, 2).clone()
        return torch.bmm(x, weight.transpose(1, 2))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor]:
        x, weight = ctx.saved_tensors
        by_x = torch.bmm(gradient, weight) if ctx.needs_input_grad[0] else None
        # Transposed on the left, so that the result lies in memory as the weight does.
        return by_x, torch.bmm(gradient.transpose(1, 2), x)


class _LinearKernel(torch.autograd.Function):
    """The same with ``bias [members, out]`` and an activation, by the kernel in blocks of rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, activation: int) -> Tensor:
        x, weight = dense(x), weight.contiguous()
        y: Tensor
        y, before = kernels.linear.call(x, weight, bias if bias is None else bias.contiguous(), activation)
        ctx.save_for_backward(x, weight, needed_backward(activation, y, before))
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


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of ``weight [words, width]`` that ``input [...]`` numbers: ``[..., width]``.

    Calls with other options than padding_idx and max_norm, and indices other than int64, are left to torch.
    """
    if max_norm is not None:
        _shorten(weight, input, max_norm, norm_type)
        max_norm = None
    if padding_idx is not None:
        # Under vmap, torch leaves the gradient of that row to all members but the first.
        weight, padding_idx = for_members(with_settings(_ConstantRow, padding_idx), weight), None
    plain = max_norm is None and not scale_grad_by_freq and not sparse
    if not plain or input.dtype != torch.int64 or weight.dim() != 2 or not handles(weight):
        return F.embedding(input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
    rows = for_members(_EmbeddingKernel.apply, weight, input.reshape(-1))
    return rows.view(*input.shape, weight.shape[-1])


@torch.no_grad()
def _shorten(weight: Tensor, index: Tensor, longest: float, norm_type: float) -> None:
    """Scales the rows of ``weight [words, width]`` that are used and longer, in place, as torch does."""
    lengths = torch.linalg.vector_norm(weight, norm_type, -1)
    used = torch.zeros_like(lengths).index_fill(0, index.flatten(), 1) > 0
    factors = torch.where(used & (lengths > longest), longest / (lengths + 1e-7), 1)
    weight.mul_(factors.unsqueeze(-1))


class _ConstantRow(torch.autograd.Function):
    """``weight [members, words, width]`` itself, whose row ``index`` has no gradient."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, index: int) -> Tensor:
        ctx.index = index
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.index_fill(
            1, torch.tensor([ctx.index % gradient.shape[1]]).to(gradient.device), 0
        ), None


class _EmbeddingKernel(torch.autograd.Function):
    """``weight [members, words, width]``, ``index [members, rows]`` -> ``[members, rows, width]``."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, index: Tensor) -> Tensor:
        index = dense(index)
        ctx.save_for_backward(index)
        ctx.words = weight.shape[1]
        return kernels.embedding.call(weight.contiguous(), index)  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        return kernels.embedding_backward.call(gradient.contiguous(), index, ctx.words), None
