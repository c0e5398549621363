"""Batching rule of layer normalisation (Ba et al., 2016) over the last dimension."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from adamtune.engines.batching.members import for_members, with_settings
from adamtune.engines.native import kernels
from adamtune.engines.native.loader import handles


def layer_norm(
    input: Tensor,
    normalized_shape: list[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """``input [..., width]`` standardised over the width, times ``weight [width]``, plus ``bias [width]``.

    Normalisation over several dimensions is left to torch.
    """
    shape = tuple(normalized_shape)
    own = [each.shape for each in (weight, bias) if each is not None]
    if len(shape) != 1 or any(each != shape for each in (input.shape[-1:], *own)):
        return torch.layer_norm(input, normalized_shape, weight, bias, eps, cudnn_enable)
    if handles(input, weight, bias) and weight is not None and bias is not None:
        return for_members(with_settings(_LayerNormKernel, eps), input, weight, bias)
    normal = for_members(with_settings(_Standardisation, eps), input)
    scaled = normal if weight is None else normal * weight
    return scaled if bias is None else scaled + bias


class _Standardisation(torch.autograd.Function):
    """``x [members, ..., width]`` to mean 0 and variance 1 over the width, in torch operations."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scale = (centred * centred).mean(-1, keepdim=True).add_(eps).rsqrt_()
        normal = centred.mul_(scale)
        ctx.save_for_backward(normal, scale)
        return normal

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        normal, scale = ctx.saved_tensors
        # Mean and variance of the result are fixed, so the gradient has no part along either.
        along = (gradient * normal).mean(-1, keepdim=True)
        centred = gradient - gradient.mean(-1, keepdim=True)
        return centred.addcmul_(normal, along, value=-1).mul_(scale), None


class _LayerNormKernel(torch.autograd.Function):
    """The same, then times ``weight [members, width]``, plus ``bias [members, width]``, by the kernel."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        rows = x.reshape(len(x), -1, x.shape[-1]).contiguous()
        weight = weight.contiguous()
        y, means, scales = kernels.layer_norm.call(rows, weight, bias.contiguous(), eps)
        ctx.save_for_backward(rows, weight, means, scales)
        return y.view(x.shape)  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        rows, weight, means, scales = ctx.saved_tensors
        by_y = gradient.reshape(rows.shape).contiguous()
        by_x, by_weight, by_bias = kernels.layer_norm_backward.call(by_y, rows, weight, means, scales)
        return by_x.view(gradient.shape), by_weight, by_bias, None
