"""The kernels of normalisation as operators; ``kernels.py`` says what they have in common."""

from __future__ import annotations

from torch import Tensor

from adamtune.engines.native.kernels import rows_of
from adamtune.engines.native.operators import ImageShape, Kernel, Shape

WIDE = 256
"""Numbers that a loop over channels takes at a time at least: a row of few channels is shorter."""

# Each row's mean and 1 / deviation are results, because the backward pass needs them.
layer_norm = Kernel(
    "layer_norm",
    "Tensor x, Tensor weight, Tensor bias, float eps",
    ["y", "means", "scales"],
    lambda x, weight, bias, eps: [x.shape, x.shape[:-1], x.shape[:-1]],
    lambda x, weight, bias, eps: [len(x), rows_of(x), x.shape[-1]],
)
layer_norm_backward = Kernel(
    "layer_norm_backward",
    "Tensor gradient, Tensor x, Tensor weight, Tensor means, Tensor scales",
    ["by_x", "by_weight", "by_bias"],
    lambda gradient, x, weight, means, scales: [x.shape, weight.shape, weight.shape],
    lambda gradient, x, weight, means, scales: [len(x), rows_of(x), x.shape[-1]],
)


def _set_sizes(x: Tensor, joined: int, whole_batch: bool) -> list[int]:
    """The sizes in ``SETS`` of ``normalise.h``; loops run over ``WIDE`` numbers or a few more."""
    members, batch, *_, channels = x.shape
    sets = 1 if whole_batch else batch
    return [members, sets, rows_of(x) // sets, channels, joined, channels * -(-WIDE // channels)]


def _by_set(x: Tensor, joined: int, whole_batch: bool) -> Shape:
    members, sets, _, channels, *_ = _set_sizes(x, joined, whole_batch)
    return members, sets, channels


# x is [members, batch, ..., channels]. The variances are a result for the running ones.
normalise = Kernel(
    "normalise",
    "Tensor x, Tensor weight, Tensor bias, int joined, bool whole_batch, float eps",
    ["y", "means", "scales", "variances", "scratch"],
    lambda x, weight, bias, joined, whole_batch, eps: [
        ImageShape((*x.shape[:2], x.shape[-1], *x.shape[2:-1])),
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
