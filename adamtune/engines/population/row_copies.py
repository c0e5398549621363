"""Copies of rows of any type, as kernels of a replay.

Between the other kernels of a step, calls of torch would end the one call of C that all of them are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from adamtune.engines.native.loader import kernel_library
from adamtune.engines.native.operators import Kernel
from adamtune.engines.population.replay import KernelCall

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


def _has_kernels(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and kernel_library(torch.float32) is not None


def _check(rows: Tensor, index: Tensor, all: Tensor) -> None:
    if rows.shape[1:] != all.shape[1:] or rows.dtype != all.dtype or len(rows) != len(index):
        raise ValueError(
            f"{tuple(rows.shape)} {rows.dtype} are no {len(index)} rows of {tuple(all.shape)} {all.dtype}"
        )


def take(source: Tensor, index: Tensor, rows: Tensor) -> KernelCall:
    """The call ``rows = source[index]``.

    Args:
        source: ``[all, ...]``.
        index: int64 ``[n]``.
        rows: ``[n, ...]``, which the call writes to.

    Raises:
        ValueError: the rows do not fit the source in shape or type.
    """
    _check(rows, index, source)
    if _has_kernels(source) and source[0].is_contiguous() and rows.is_contiguous():
        return KernelCall(ours.take.out, (source, index), {"rows": rows})
    return KernelCall(aten.index_select.out, (source, 0, index), {"out": rows})


def put(rows: Tensor, index: Tensor, target: Tensor) -> KernelCall:
    """The call ``target[index] = rows``.

    Args:
        rows: ``[n, ...]``.
        index: int64 ``[n]``.
        target: ``[all, ...]``, which the call writes to.

    Raises:
        ValueError: the rows do not fit the target in shape or type.
    """
    _check(rows, index, target)
    if _has_kernels(target) and target.is_contiguous() and rows.is_contiguous():
        return KernelCall(ours.put.out, (rows, index, len(target)), {"target": target})
    return KernelCall(aten.index_copy_.default, (target, 0, index, rows), {})


def increment(index: Tensor) -> KernelCall:
    """The call ``index += 1``, for ``index`` int64 ``[n]``."""
    if _has_kernels(index):
        return KernelCall(ours.next.out, (index,), {"following": index})
    return KernelCall(aten.add_.Scalar, (index, 1), {})
