"""Max pooling of windows that lie side by side."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from adamtune.engines.formulations.members import Pair, bind, for_members, pair
from adamtune.engines.kernels import layers
from adamtune.engines.kernels.library import handles


def max_pool(
    input: Tensor,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """The greatest pixel of each window, by channel. Windows that overlap or reach out are left to torch."""
    window = pair(kernel_size)
    beside = not stride or pair(stride) == window
    plain = beside and pair(padding) == (0, 0) and pair(dilation) == (1, 1) and not ceil_mode
    fitting = input.dim() == 4 and all(w <= size for w, size in zip(window, input.shape[2:], strict=True))
    if not plain or return_indices or not fitting or not handles(input):
        options: Any = {"return_indices": True} if return_indices else {}
        found: Tensor = F.max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode, **options)
        return found
    return for_members(bind(_Kernel, window), input)


class _Kernel(torch.autograd.Function):
    """``x [members, batch, channels, height, width]``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, window: Pair) -> Tensor:
        pixels = x.movedim(2, -1).contiguous()
        y = layers.max_pool.call(pixels.flatten(0, 1), window)
        ctx.save_for_backward(pixels, y)
        ctx.window = window
        found: Tensor = y.view(*x.shape[:2], *y.shape[1:]).movedim(-1, 2)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        pixels, y = ctx.saved_tensors
        by_y = gradient.movedim(2, -1).contiguous().flatten(0, 1)
        by_x, _ = layers.max_pool_backward.call(by_y, pixels.flatten(0, 1), y, ctx.window)
        return by_x.view(pixels.shape).movedim(-1, 2), None
