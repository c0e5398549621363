"""Moving rows of tensors that stay where they are; by kernels of our own where they are to be had."""

from __future__ import annotations

import torch
from torch import Tensor

from adamtune.engines.kernels.library import library
from adamtune.engines.kernels.operators import Kernel
from adamtune.engines.script import Bound

ours, aten = torch.ops.adamtune, torch.ops.aten


def _row_bytes(tensor: Tensor) -> int:
    return tensor[0].numel() * tensor.element_size()


_take = Kernel(
    "take",
    "Tensor source, Tensor index",
    ["rows"],
    lambda source, index: [(len(index), *source.shape[1:])],
    lambda source, index: [
        len(source),
        len(index),
        _row_bytes(source),
        source.stride(0) * source.element_size(),
    ],
    "a row to take is out of range",
)
_put = Kernel(
    "put",
    "Tensor rows, Tensor index, int all",
    ["target"],
    lambda rows, index, all: [(all, *rows.shape[1:])],
    lambda rows, index, all: [all, len(index), _row_bytes(rows)],
    "a place to put a row is out of range",
)
_next = Kernel(
    "next",
    "Tensor index",
    ["following"],
    lambda index: [index.shape],
    lambda index: [index.numel()],
)


def _kernels(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and library(torch.float32) is not None


def take(source: Tensor, index: Tensor, rows: Tensor) -> Bound:
    """``rows [n, ...] = source[index]``, for ``index [n]``."""
    if _kernels(source) and source[0].is_contiguous() and rows.is_contiguous():
        return Bound(ours.take.out, (source, index), {"rows": rows})
    return Bound(aten.index_select.out, (source, 0, index), {"out": rows})


def put(rows: Tensor, index: Tensor, target: Tensor) -> Bound:
    """``target[index] = rows``."""
    if _kernels(target) and target.is_contiguous() and rows.is_contiguous():
        return Bound(ours.put.out, (rows, index, len(target)), {"target": target})
    return Bound(aten.index_copy_.default, (target, 0, index, rows), {})


def advance(index: Tensor) -> Bound:
    """``index += 1``."""
    if _kernels(index):
        return Bound(ours.next.out, (index,), {"following": index})
    return Bound(aten.add_.Scalar, (index, 1), {})
