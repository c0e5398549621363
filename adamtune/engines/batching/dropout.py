"""Batching rule of dropout (Srivastava et al., 2014)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from adamtune.engines.torch_private import is_batched


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """``F.dropout`` with a mask laid out as the input: torch draws in the order of the memory.

    A GPU drops out with a kernel of its own, which a capture records and repeats.
    """
    if not training or p in (0, 1) or not is_batched(input) or (input.is_cuda and not inplace):
        return F.dropout(input, p, training, inplace)
    mask = torch.empty_like(input).bernoulli_(1 - p).div_(1 - p)
    return input.mul_(mask) if inplace else input * mask
