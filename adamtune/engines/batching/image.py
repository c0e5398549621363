"""Batching rules of layers on images: convolution, as a product of patches and kernels, and pooling."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from adamtune.engines.batching.activation import layer_result, needed_backward
from adamtune.engines.batching.members import Pair, dense, for_members, pair, with_settings
from adamtune.engines.native import image_kernels
from adamtune.engines.native.loader import handles


def convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Pair = 1,
    padding: str | int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Tensor:
    """A convolution: ``[batch, in, height, width]`` -> ``[batch, out, height', width']``.

    ``weight`` is ``[out, in, rows, columns]``, ``bias`` is ``[out]``. Dilated and grouped convolutions are
    left to torch, and those with strides where there is no kernel.
    """
    if isinstance(padding, str) or pair(dilation) != (1, 1) or groups != 1:
        return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)
    margins, steps = pair(padding), pair(stride)
    in_c = handles(input, weight, bias)
    if not _fitting(input, weight, bias, margins) or min(steps) < 1 or not (in_c or steps == (1, 1)):
        return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)
    # Unlike the products, the kernel adds the bias itself, and the activation, if one follows.
    if not in_c:
        out = for_members(with_settings(_ConvolutionProducts, margins), input, weight)
        return out if bias is None else out + bias[:, None, None]
    given = (input, weight) if bias is None else (input, weight, bias)

    def compute(activation: int) -> Tensor:
        settings = (*[None] * (bias is None), margins, steps, activation)
        return for_members(with_settings(_ConvolutionKernel, *settings), *given)

    return layer_result(compute, *given)


def _fitting(input: Tensor, weight: Tensor, bias: Tensor | None, padding: Pair) -> bool:
    """Whether the shapes are those of a convolution whose margins are narrower than its kernel.

    Without strides the gradient of the input is a convolution, too, with margins ``kernel - 1 - padding``,
    which may not be negative.
    """
    if input.dim() != 4 or weight.dim() != 4 or not input.numel() or not weight.numel():
        return False
    windows = zip(padding, weight.shape[2:], input.shape[2:], strict=True)
    return (
        input.shape[1] == weight.shape[1]
        and (bias is None or bias.shape == weight.shape[:1])
        and all(0 <= margin < window <= size + 2 * margin for margin, window, size in windows)
    )


class _ConvolutionProducts(torch.autograd.Function):
    """One matrix product a member, by torch.

    ``x [members, batch, in, height, width]``, ``weight [members, out, in, rows, columns]`` ->
    ``[members, batch, out, height', width']``.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, padding: Pair) -> Tensor:
        members, out, _, rows, columns = weight.shape
        if x.stride(0) == 0:  # all members share the images: cut the patches once
            patches = _patches(x[0], rows, columns, padding).expand(members, *[-1] * 5)
        else:
            patches = _patches(x, rows, columns, padding)
        kernel = weight.permute(0, 3, 4, 2, 1).reshape(members, -1, out)
        ctx.save_for_backward(patches, weight)
        ctx.padding = padding
        product = torch.bmm(patches.flatten(4).flatten(1, 3), kernel)
        # A copy, because torch refuses to change in place what is a view made here.
        by_pixel: Tensor = product.unflatten(1, patches.shape[1:4])
        return by_pixel.permute(0, 1, 4, 2, 3).clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None]:
        patches, weight = ctx.saved_tensors
        members, out, inner, rows, columns = weight.shape
        by_pixel = gradient.permute(0, 1, 3, 4, 2).reshape(members, -1, out)
        by_weight = torch.bmm(by_pixel.transpose(1, 2), patches.flatten(4).flatten(1, 3))
        by_x = None
        if ctx.needs_input_grad[0]:  # not so in the first layer
            # The gradient of x is the convolution of the output's gradient with the mirrored kernel.
            mirrored = weight.flip(3, 4).permute(0, 3, 4, 1, 2).reshape(members, -1, inner)
            margin = (rows - 1 - ctx.padding[0], columns - 1 - ctx.padding[1])
            windows = _patches(gradient, rows, columns, margin)
            product = torch.bmm(windows.flatten(4).flatten(1, 3), mirrored)
            by_x = product.unflatten(1, windows.shape[1:4]).permute(0, 1, 4, 2, 3)
        return by_x, by_weight.view(members, out, rows, columns, inner).permute(0, 1, 4, 2, 3), None


def _patches(x: Tensor, rows: int, columns: int, padding: Pair) -> Tensor:
    """The patch of the image that each pixel of a convolution's output is computed from.

    Args:
        x: images ``[..., batch, channels, height, width]``.
        rows: the kernel's height.
        columns: the kernel's width.
        padding: zeros added above and below, left and right.

    Returns:
        Contiguous ``[..., batch, height', width', rows, columns * channels]``, by the output's height and
        width.
    """
    down, across = padding
    padded = F.pad(x.movedim(-3, -1), (0, 0, across, across, down, down)).contiguous()
    # A view of the padded images in which patches overlap; copying it lays them out one after the other.
    *lead, height, width, channels = padded.shape
    *steps, by_row, by_column, _ = padded.stride()
    # The pixels of a patch's row and their channels are contiguous: as one dimension they are copied fast.
    windows = padded.as_strided(
        (*lead, height - rows + 1, width - columns + 1, rows, columns * channels),
        (*steps, by_row, by_column, by_row, 1),
    )
    return windows.contiguous()


class _ConvolutionKernel(torch.autograd.Function):
    """The same with ``bias [members, out]``, strides and an activation, by the kernel in blocks of images."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        padding: Pair,
        stride: Pair,
        activation: int,
    ) -> Tensor:
        # No copy where the images come from another rule: all of them leave channels last in memory.
        pixels, weight = dense(x.movedim(2, -1)), weight.contiguous()
        y: Tensor
        y, before, _ = image_kernels.convolution.call(
            pixels, weight, bias if bias is None else bias.contiguous(), padding, stride, activation
        )
        ctx.save_for_backward(pixels, weight, needed_backward(activation, y, before))
        ctx.settings = padding, stride, activation
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        needs_x, _, needs_bias, *_ = ctx.needs_input_grad
        by_x, by_weight, by_bias, _ = image_kernels.convolution_backward.call(
            gradient.movedim(2, -1).contiguous(), *ctx.saved_tensors, *ctx.settings, needs_x
        )
        by_x = by_x.movedim(-1, 2) if needs_x else None
        return by_x, by_weight, by_bias if needs_bias else None, None, None, None


def max_pool(
    input: Tensor,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """The largest value of each window, by channel: ``[batch, channels, height, width]`` -> smaller images.

    Windows that overlap, or reach beyond the image, are left to torch.
    """
    window = pair(kernel_size)
    adjacent = not stride or pair(stride) == window
    plain = adjacent and pair(padding) == (0, 0) and pair(dilation) == (1, 1) and not ceil_mode
    fitting = input.dim() == 4 and all(w <= size for w, size in zip(window, input.shape[2:], strict=True))
    if not plain or return_indices or not fitting or not handles(input):
        options: Any = (stride, padding, dilation, ceil_mode, return_indices)
        return F.max_pool2d(input, kernel_size, *options)  # type: ignore[no-any-return]
    return for_members(with_settings(_PoolKernel, window), input)


def adaptive_average_pool(input: Tensor, output_size: Any) -> Tensor:
    """The mean of each image: ``[batch, channels, height, width]`` -> ``[batch, channels, 1, 1]``.

    For images with channels last in memory, torch's own function has no batching rule. Other sizes are left
    to torch.
    """
    if pair(output_size) != (1, 1):
        return F.adaptive_avg_pool2d(input, output_size)
    return input.mean((-2, -1), keepdim=True)


class _PoolKernel(torch.autograd.Function):
    """``x [members, batch, channels, height, width]`` to its windows' maxima, by the kernel."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, window: Pair) -> Tensor:
        pixels = x.movedim(2, -1).contiguous()
        ctx.save_for_backward(pixels)
        ctx.window = window
        return image_kernels.max_pool.call(pixels, window)  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        by_y = gradient.movedim(2, -1).contiguous()
        by_x, _ = image_kernels.max_pool_backward.call(by_y, *ctx.saved_tensors, ctx.window)
        return by_x.movedim(-1, 2), None
