"""The kernels of batching rules as operators: each one's arguments, its results' shapes and its sizes.

The C header of a kernel's name says what each tensor holds. A kernel's first tensors are its arguments, the
last ones its results. A tensor that all members share has a stride of 0 over members.
"""

from __future__ import annotations

from math import prod

from torch import Tensor

from adamtune.engines.native.operators import Kernel, Shape

BLOCK = 1 << 15
"""Numbers of a block: its inputs and results fit in a core's cache together."""
ROWS = 512
"""The fewest rows of a block: each block reads all weights of the layer, which in a wide one are many."""
ACTIVATIONS = {"none": 0, "relu": 1, "gelu": 2}
"""The activations that a layer's kernel can compute, by their numbers in ``common.h``."""


def result_and_kept(shape: Shape, activation: int) -> list[Shape]:
    """The shapes of a layer's result, and of GELU's arguments, which its backward pass needs."""
    # A result that is not needed is a tensor without elements: a schema cannot leave results out.
    return [shape, shape if activation == ACTIVATIONS["gelu"] else (0,)]


def rows_of(x: Tensor) -> int:
    """The rows of a member in ``[members, ..., width]``."""
    return prod(x.shape[1:-1])


def _linear_sizes(x: Tensor, weight: Tensor) -> list[int]:
    """Members, rows, widths of input and output, the stride over members, and the rows of a block."""
    rows, (out, inner) = rows_of(x), weight.shape[1:]
    return [len(x), rows, inner, out, x.stride(0), min(rows, max(ROWS, BLOCK // (inner + out)))]


linear = Kernel(
    "linear",
    "Tensor x, Tensor weight, Tensor? bias, int activation",
    ["y", "kept"],
    lambda x, weight, bias, activation: result_and_kept((*x.shape[:-1], weight.shape[1]), activation),
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
