"""Batching rules of dropout (Srivastava et al., 2014) and of randomized leaky ReLU (Xu et al., 2015)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from adamtune.engines.batching.members import for_members, with_settings
from adamtune.engines.torch_private import is_batched


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """``F.dropout`` with a mask laid out as the input: torch draws in the order of the memory.

    A GPU drops out with a kernel of its own, which a capture records and repeats.
    """
    if not training or p in (0, 1) or not is_batched(input) or (input.is_cuda and not inplace):
        return F.dropout(input, p, training, inplace)
    mask = torch.empty_like(input).bernoulli_(1 - p).div_(1 - p)
    return input.mul_(mask) if inplace else input * mask


def rrelu(
    input: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """``F.rrelu``, which draws a slope for each number that is not positive."""
    if not training or not is_batched(input):
        return F.rrelu(input, lower, upper, training, inplace)
    found: Tensor = for_members(with_settings(_RandomizedLeakyRelu, lower, upper), input)
    return input.copy_(found) if inplace else found


class _RandomizedLeakyRelu(torch.autograd.Function):
    """``x [members, ...]`` times its slopes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, lower: float, upper: float) -> Tensor:
        found = x.clone(memory_format=torch.contiguous_format)
        slopes = torch.empty_like(found)
        torch.ops.aten.rrelu_with_noise_(found, slopes, lower, upper, True)
        ctx.save_for_backward(slopes)
        return found

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (slopes,) = ctx.saved_tensors
        return gradient * slopes, None, None
