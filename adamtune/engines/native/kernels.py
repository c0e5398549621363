"""The kernels of the batching rules as operators: each one's arguments, its results' shapes and its sizes.

The C header of a kernel's name says what each tensor holds. A kernel's first tensors are its arguments, the
last ones its results. A tensor that all members share has a stride of 0 over members.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from adamtune.engines.native.operators import Kernel, Shape

BLOCK = 1 << 15
"""Numbers of a block: its inputs and results fit in a core's cache together."""
ROWS = 512
"""The fewest rows of a block: each block reads all weights of the layer, which in a wide one are many."""
WIDE = 256
"""Numbers that a loop over channels takes at a time at least: a row of few channels is shorter."""
CELLS = {"lstm": 0, "gru": 1, "rnn_tanh": 2, "rnn_relu": 3}
"""The cells of recurrent layers, by their numbers in ``recurrent.h``."""
ACTIVATIONS = {"none": 0, "relu": 1, "gelu": 2}
"""The activations that a layer's kernel can compute, by their numbers in ``common.h``."""


def _result_and_kept(shape: Shape, activation: int) -> list[Shape]:
    """The shapes of a layer's result, and of GELU's arguments, which its backward pass needs."""
    # A result that is not needed is a tensor without elements: a schema cannot leave results out.
    return [shape, shape if activation == ACTIVATIONS["gelu"] else (0,)]


def _linear_sizes(x: Tensor, weight: Tensor) -> list[int]:
    """Members, rows, widths of input and output, the stride over members, and the rows of a block."""
    (members, rows, inner), out = x.shape, weight.shape[1]
    return [members, rows, inner, out, x.stride(0), min(rows, max(ROWS, BLOCK // (inner + out)))]


linear = Kernel(
    "linear",
    "Tensor x, Tensor weight, Tensor? bias, int activation",
    ["y", "kept"],
    lambda x, weight, bias, activation: _result_and_kept((*x.shape[:2], weight.shape[1]), activation),
    lambda x, weight, bias, activation: [*_linear_sizes(x, weight), activation],
)
# Scratch memory is a result, too, so that the memory plan of a capture gives it to later calls.
linear_backward = Kernel(
    "linear_backward",
    "Tensor gradient, Tensor x, Tensor weight, Tensor? kept, int activation, bool needs_x",
    ["by_x", "by_weight", "by_bias", "scratch"],
    lambda gradient, x, weight, kept, activation, needs_x: [
        x.shape if needs_x else (0,),
        weight.shape,
        weight.shape[:2],
        (_linear_sizes(x, weight)[-1] * weight.shape[1],),
    ],
    lambda gradient, x, weight, kept, activation, needs_x: [*_linear_sizes(x, weight), activation, needs_x],
)

# Each row's mean and 1 / deviation are results, because the backward pass needs them.
layer_norm = Kernel(
    "layer_norm",
    "Tensor x, Tensor weight, Tensor bias, float eps",
    ["y", "means", "scales"],
    lambda x, weight, bias, eps: [x.shape, x.shape[:-1], x.shape[:-1]],
    lambda x, weight, bias, eps: x.shape,
)
layer_norm_backward = Kernel(
    "layer_norm_backward",
    "Tensor gradient, Tensor x, Tensor weight, Tensor means, Tensor scales",
    ["by_x", "by_weight", "by_bias"],
    lambda gradient, x, weight, means, scales: [x.shape, weight.shape, weight.shape],
    lambda gradient, x, weight, means, scales: x.shape,
)

def _set_sizes(x: Tensor, joined: int, whole_batch: bool) -> list[int]:
    """The sizes in ``SETS`` of ``normalise.h``; loops run over ``WIDE`` numbers or a few more."""
    members, batch, *_, channels = x.shape
    sets = 1 if whole_batch else batch
    rows = x[0, ..., 0].numel() // sets
    return [members, sets, rows, channels, joined, channels * -(-WIDE // channels)]


def _by_set(x: Tensor, joined: int, whole_batch: bool) -> Shape:
    members, sets, _, channels, *_ = _set_sizes(x, joined, whole_batch)
    return members, sets, channels


# x is [members, batch, ..., channels]. The variances are a result for the running ones.
normalise = Kernel(
    "normalise",
    "Tensor x, Tensor weight, Tensor bias, int joined, bool whole_batch, float eps",
    ["y", "means", "scales", "variances", "scratch"],
    lambda x, weight, bias, joined, whole_batch, eps: [
        x.shape,
        *[_by_set(x, joined, whole_batch)] * 3,
        (3 * _set_sizes(x, joined, whole_batch)[-1],),
    ],
    lambda x, weight, bias, joined, whole_batch, eps: _set_sizes(x, joined, whole_batch),
)
normalise_backward = Kernel(
    "normalise_backward",
    "Tensor gradient, Tensor x, Tensor weight, Tensor means, Tensor scales, int joined, bool whole_batch",
    ["by_x", "by_weight", "by_bias", "scratch"],
    lambda gradient, x, weight, means, scales, joined, whole_batch: [
        x.shape,
        weight.shape,
        weight.shape,
        (4 * _set_sizes(x, joined, whole_batch)[-1],),
    ],
    lambda gradient, x, weight, means, scales, joined, whole_batch: _set_sizes(x, joined, whole_batch),
)

# Forwards it computes the probabilities on the way to the losses; backwards they are nearly the gradient.
cross_entropy = Kernel(
    "cross_entropy",
    "Tensor logits, Tensor target, Tensor share",
    ["losses", "probabilities"],
    lambda logits, target, share: [logits.shape[:1], logits.shape],
    lambda logits, target, share: [*logits.shape, target.stride(0), share.stride(0)],
    "a target of cross_entropy is out of range",
)
cross_entropy_backward = Kernel(
    "cross_entropy_backward",
    "Tensor gradient, Tensor probabilities, Tensor target, Tensor share",
    ["by_logits"],
    lambda gradient, probabilities, target, share: [probabilities.shape],
    lambda gradient, probabilities, target, share: [
        *probabilities.shape,
        target.stride(0),
        share.stride(0),
    ],
)

mse_loss = Kernel(
    "mse_loss",
    "Tensor x, Tensor target",
    ["losses"],
    lambda x, target: [x.shape[:1]],
    lambda x, target: [*x.shape, x.stride(0), target.stride(0)],
)
mse_loss_backward = Kernel(
    "mse_loss_backward",
    "Tensor gradient, Tensor x, Tensor target",
    ["by_x"],
    lambda gradient, x, target: [x.shape],
    lambda gradient, x, target: [*x.shape, x.stride(0), target.stride(0)],
)

embedding = Kernel(
    "embedding",
    "Tensor weight, Tensor index",
    ["y"],
    lambda weight, index: [(*index.shape, weight.shape[-1])],
    lambda weight, index: [*index.shape, *weight.shape[1:], index.stride(0)],
    "an index of embedding is out of range",
)
# Words that no row names have a gradient of zero, so the result is as large as the table.
embedding_backward = Kernel(
    "embedding_backward",
    "Tensor gradient, Tensor index, int words",
    ["by_weight"],
    lambda gradient, index, words: [(len(index), words, gradient.shape[-1])],
    lambda gradient, index, words: [*index.shape, words, gradient.shape[-1], index.stride(0)],
)


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


def _windows(x: Tensor, weight: Tensor, padding: Sequence[int], stride: Sequence[int]) -> _Windows:
    members, images, height, width, channels = x.shape
    out, _, down, across = weight.shape[1:]
    margin_down, margin_across = padding
    step_down, step_across = stride
    rows = (height + 2 * margin_down - down) // step_down + 1
    columns = (width + 2 * margin_across - across) // step_across + 1
    block = max(1, min(images, BLOCK // (rows * columns * channels * down * across)))
    image = height, width, channels, down, across, rows, columns, margin_down, margin_across, step_down, step_across
    return _Windows(members, images, out, x.stride(0), *image, block)


def output_size(x: Tensor, weight: Tensor, padding: Sequence[int], stride: Sequence[int]) -> Shape:
    """The height and width of a convolution's output."""
    windows = _windows(x, weight, padding, stride)
    return windows.rows, windows.columns


def _scratch(x: Tensor, weight: Tensor, padding: Sequence[int], stride: Sequence[int]) -> int:
    """Scratch numbers: an image with margins, a block's patches, and all kernels with their channels last."""
    w = _windows(x, weight, padding, stride)
    margins = (w.height + 2 * w.margin_down) * (w.width + 2 * w.margin_across) * w.channels
    patches = w.block * w.rows * w.columns * w.down * w.across * w.channels
    return margins + patches + weight.numel()


def _output_block(x: Tensor, weight: Tensor, padding: Sequence[int], stride: Sequence[int]) -> int:
    """Scratch numbers for a block of the output."""
    w = _windows(x, weight, padding, stride)
    return w.block * w.rows * w.columns * w.out


convolution = Kernel(
    "convolution",
    "Tensor x, Tensor weight, Tensor? bias, int[] padding, int[] stride, int activation",
    ["y", "kept", "scratch"],
    lambda x, weight, bias, padding, stride, activation: [
        *_result_and_kept((*x.shape[:2], *output_size(x, weight, padding, stride), weight.shape[1]), activation),
        (_scratch(x, weight, padding, stride),),
    ],
    lambda x, weight, bias, padding, stride, activation: [*_windows(x, weight, padding, stride), activation],
)
convolution_backward = Kernel(
    "convolution_backward",
    "Tensor gradient, Tensor x, Tensor weight, Tensor? kept, int[] padding, int[] stride, int activation, bool needs_x",
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

# The backward pass finds each window's largest pixel again, by comparing x with y.
max_pool = Kernel(
    "max_pool",
    "Tensor x, int[] window",
    ["y"],
    lambda x, window: [(*x.shape[:2], x.shape[2] // window[0], x.shape[3] // window[1], x.shape[4])],
    lambda x, window: [x.shape[0] * x.shape[1], *x.shape[2:], *window],
)
max_pool_backward = Kernel(
    "max_pool_backward",
    "Tensor gradient, Tensor x, Tensor y, int[] window",
    ["by_x", "scratch"],
    lambda gradient, x, y, window: [x.shape, x.shape[-1:]],
    lambda gradient, x, y, window: [x.shape[0] * x.shape[1], *x.shape[2:], *window],
)


def _attention_sizes(query: Tensor, causal: bool, *strided: Tensor) -> list[int]:
    """The query's shape, whether attention is causal, and the strides of all but the last dimension."""
    sizes = [*query.shape, int(causal)]
    for tensor in strided:
        sizes += tensor.stride()[:-1]
    return sizes


# Queries, keys and values may be slices of one tensor, so they come with strides. The result is laid out by
# position and head, as the linear layer after it reads it.
attention = Kernel(
    "attention",
    "Tensor query, Tensor key, Tensor value, float scale, bool causal",
    ["y", "weights", "scratch"],
    lambda query, key, value, scale, causal: [
        (*query.shape[:2], query.shape[3], query.shape[2], query.shape[4]),
        (*query.shape[:4], query.shape[3]),
        query.shape[3:],
    ],
    lambda query, key, value, scale, causal: _attention_sizes(query, causal, query, key, value),
)


def _gradients_shape(query: Tensor, packed: bool) -> Shape:
    """The shape of the gradients of query, key and value in one tensor.

    Packed, they are ``[members, batch, length, 3, heads, width]``, as slices of the gradient of a linear
    layer that computes all three; else they are three tensors ``[members, batch, length, heads, width]``.
    """
    members, batch, heads, length, width = query.shape
    return (members, batch, length, 3, heads, width) if packed else (3, members, batch, length, heads, width)


def _gradient_strides(query: Tensor, packed: bool) -> list[int]:
    """The strides over members, batch, heads and length, and from one gradient to the next."""
    _, batch, heads, length, width = query.shape
    row = heads * width
    along = 3 * row if packed else row
    return [batch * length * along, length * along, width, along, row if packed else query.numel()]


attention_backward = Kernel(
    "attention_backward",
    "Tensor gradient, Tensor query, Tensor key, Tensor value, Tensor weights, float scale, bool causal, "
    "bool packed",
    ["gradients", "scratch"],
    lambda gradient, query, key, value, weights, scale, causal, packed: [
        _gradients_shape(query, packed),
        (query.shape[3], query.shape[3] + query.shape[4]),
    ],
    lambda gradient, query, key, value, weights, scale, causal, packed: [
        *_attention_sizes(query, causal, gradient, query, key, value),
        *_gradient_strides(query, packed),
    ],
)


def _sequence_sizes(inputs: Tensor, weight: Tensor, cell: int, reverse: bool) -> list[int]:
    """Members, times, rows of a batch, the width of h, the cell, and whether it begins at the last time."""
    return [*inputs.shape[:3], weight.shape[2], cell, reverse]


def _states(inputs: Tensor, weight: Tensor, width: int, wanted: bool = True) -> Shape:
    """The shape of ``width`` times h at every time."""
    return (*inputs.shape[:3], width * weight.shape[2]) if wanted else (0,)


LSTM, GRU = CELLS["lstm"], CELLS["gru"]
recurrent = Kernel(
    "recurrent",
    "Tensor inputs, Tensor weight, Tensor? bias, Tensor h0, Tensor? c0, int cell, bool reverse",
    ["h", "c", "kept", "scratch"],
    lambda inputs, weight, bias, h0, c0, cell, reverse: [
        _states(inputs, weight, 1),
        _states(inputs, weight, 1, cell == LSTM),
        _states(inputs, weight, 4, cell in (LSTM, GRU)),
        (weight[0].numel() + inputs[0, 0].numel(),),
    ],
    lambda inputs, weight, bias, h0, c0, cell, reverse: _sequence_sizes(inputs, weight, cell, reverse),
)
recurrent_backward = Kernel(
    "recurrent_backward",
    "Tensor by_h, Tensor? by_c, Tensor weight, Tensor h0, Tensor? c0, Tensor h, Tensor c, Tensor kept, int cell, "
    "bool reverse",
    ["by_inputs", "by_weight", "by_bias", "by_h0", "by_c0", "scratch"],
    lambda by_h, by_c, weight, h0, c0, h, c, kept, cell, reverse: [
        (*h.shape[:3], weight.shape[1]),
        weight.shape,
        weight.shape[:2],
        h0.shape,
        h0.shape if cell == LSTM else (0,),
        (h.shape[1], h.shape[2], weight.shape[1]) if cell == GRU else (0,),
    ],
    lambda by_h, by_c, weight, h0, c0, h, c, kept, cell, reverse: _sequence_sizes(h, weight, cell, reverse),
)
