"""The kernels of layers on images as operators; ``kernels.py`` says what they have in common.

Images come with their channels last, ``[members, batch, height, width, channels]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from adamtune.engines.native.kernels import BLOCK, result_and_kept
from adamtune.engines.native.operators import ImageShape, Kernel

PANEL = 32
"""The most columns of a matrix that ``product.h`` packs together."""
LINES = 96
"""The fewest pixels of a block: each block reads all weights of the layer, which in a wide one are many."""


class _Windows(NamedTuple):
    """The sizes of a convolution, in the order of ``WINDOWS`` in ``convolution.h``.

    Attributes:
        members: members.
        images: images of each member.
        out: channels of the output.
        stride: elements from one member's images to the next one's, 0 where members share them.
        height: the height of an image in pixels.
        width: its width in pixels.
        channels: its channels.
        down: the height of the convolution's window.
        across: its width.
        rows: the height of the output.
        columns: its width.
        margin_down: zeros above and below an image.
        margin_across: zeros left and right of it.
        step_down: pixels from one window to the next one below.
        step_across: pixels from one window to the next one to the right.
        block: images of a block.
        band: rows of the output of a block; all of them in a block of several images.
    """

    members: int
    images: int
    out: int
    stride: int
    height: int
    width: int
    channels: int
    down: int
    across: int
    rows: int
    columns: int
    margin_down: int
    margin_across: int
    step_down: int
    step_across: int
    block: int
    band: int


def _windows(x: Tensor, weight: Tensor, padding: Sequence[int], stride: Sequence[int]) -> _Windows:
    members, images, height, width, channels = x.shape
    out, _, down, across = weight.shape[1:]
    margin_down, margin_across = padding
    step_down, step_across = stride
    rows = (height + 2 * margin_down - down) // step_down + 1
    columns = (width + 2 * margin_across - across) // step_across + 1
    lines = max(LINES, BLOCK // (channels * down * across))
    block, band = max(1, min(images, lines // (rows * columns))), max(1, min(rows, lines // columns))
    image = (
        height,
        width,
        channels,
        down,
        across,
        rows,
        columns,
        margin_down,
        margin_across,
        step_down,
        step_across,
    )
    return _Windows(members, images, out, x.stride(0), *image, block, band)


def _output_shape(x: Tensor, weight: Tensor, padding: Sequence[int], stride: Sequence[int]) -> ImageShape:
    w = _windows(x, weight, padding, stride)
    return ImageShape((w.members, w.images, w.out, w.rows, w.columns))


def _scratch(x: Tensor, weight: Tensor, padding: Sequence[int], stride: Sequence[int]) -> int:
    """Scratch numbers: an image with margins, a block's patches, and all kernels, in panels at most."""
    w = _windows(x, weight, padding, stride)
    margins = (w.height + 2 * w.margin_down) * (w.width + 2 * w.margin_across) * w.channels
    seen = w.down * w.across * w.channels
    return margins + w.block * w.band * w.columns * seen + w.members * -(-w.out // PANEL) * PANEL * seen


def _output_block(x: Tensor, weight: Tensor, padding: Sequence[int], stride: Sequence[int]) -> int:
    """Scratch numbers for a block of the output."""
    w = _windows(x, weight, padding, stride)
    return w.block * w.band * w.columns * w.out


convolution = Kernel(
    "convolution",
    "Tensor x, Tensor weight, Tensor? bias, int[] padding, int[] stride, int activation",
    ["y", "kept", "scratch"],
    lambda x, weight, bias, padding, stride, activation: [
        *result_and_kept(_output_shape(x, weight, padding, stride), activation),
        (_scratch(x, weight, padding, stride),),
    ],
    lambda x, weight, bias, padding, stride, activation: [*_windows(x, weight, padding, stride), activation],
)
convolution_backward = Kernel(
    "convolution_backward",
    "Tensor gradient, Tensor x, Tensor weight, Tensor? kept, int[] padding, int[] stride, int activation, "
    "bool needs_x",
    ["by_x", "by_weight", "by_bias", "scratch"],
    lambda gradient, x, weight, kept, padding, stride, activation, needs_x: [
        x.shape if needs_x else (0,),
        weight.shape,
        weight.shape[:2],
        (2 * _scratch(x, weight, padding, stride) + _output_block(x, weight, padding, stride),),
    ],
    lambda gradient, x, weight, kept, padding, stride, activation, needs_x: [
        *_windows(x, weight, padding, stride),
        activation,
        needs_x,
    ],
)


def _pooled_shape(x: Tensor, window: Sequence[int]) -> ImageShape:
    members, images, height, width, channels = x.shape
    return ImageShape((members, images, channels, height // window[0], width // window[1]))


# The backward pass finds each window's greatest pixel again: the result may have been changed in place.
max_pool = Kernel(
    "max_pool",
    "Tensor x, int[] window",
    ["y"],
    lambda x, window: [_pooled_shape(x, window)],
    lambda x, window: [x.shape[0] * x.shape[1], *x.shape[2:], *window],
)
max_pool_backward = Kernel(
    "max_pool_backward",
    "Tensor gradient, Tensor x, int[] window",
    ["by_x", "scratch"],
    lambda gradient, x, window: [x.shape, (2, x.shape[-1])],
    lambda gradient, x, window: [x.shape[0] * x.shape[1], *x.shape[2:], *window],
)
