"""Leaves ``vmap`` for a function over the tensors of all members, and what such functions share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from adamtune.engines.torch_private import storage_id

Pair = tuple[int, int]
"""A value for the height and one for the width of an image."""


def for_members(function: Callable[..., Any], *tensors: Tensor) -> Tensor:
    """Calls a function once for all members from code that runs under ``vmap``.

    Args:
        function: takes the tensors of all members, ``[members, ...]`` each, and returns one such tensor, or
            a tuple of them. A tensor that all members share is expanded: its stride over members is 0.
        tensors: one member's tensors, as ``vmap`` has them.

    Returns:
        One member's result, as ``vmap`` has it; a tuple if the function returns one.
    """
    return _ForMembers.apply(function, *tensors)  # type: ignore[no-any-return]


class _ForMembers(torch.autograd.Function):
    """The identity of ``for_members`` to torch: a function with a ``vmap`` of its own."""

    @staticmethod
    def forward(function: Callable[..., Any], *tensors: Tensor) -> Any:
        """Outside ``vmap``, or where all members share every tensor: computes a single member."""
        found = function(*(each.unsqueeze(0) for each in tensors))
        return found.squeeze(0) if isinstance(found, Tensor) else tuple(each.squeeze(0) for each in found)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Saves nothing: tensors that all members share have no gradient, so there is no backward pass."""

    @staticmethod
    def vmap(info: Any, dims: Any, function: Callable[..., Any], *tensors: Tensor) -> tuple[Any, Any]:
        """Moves the members to the front of each tensor and calls the function."""
        leading = [
            tensor.expand(info.batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
            for dim, tensor in zip(dims[1:], tensors, strict=True)
        ]
        found = function(*leading)
        return found, 0 if isinstance(found, Tensor) else (0,) * len(found)


def with_settings(function: type[torch.autograd.Function], *settings: Any) -> Callable[..., Any]:
    """The autograd function as a function of tensors alone, with ``settings`` as its further arguments."""
    return lambda *tensors: function.apply(*tensors, *settings)


def dense(tensor: Tensor) -> Tensor:
    """The tensor ``[members, ...]``, contiguous but for a stride of 0 over members that share it."""
    if tensor.stride(0) == 0:
        return tensor[:1].contiguous().expand_as(tensor)
    return tensor.contiguous()


def spacing(slices: Sequence[Tensor]) -> int | None:
    """The distance in memory, in elements, between consecutive slices of one tensor.

    Returns:
        The distance; None if the tensors are not equally spaced slices of one tensor, in order.
    """
    layouts = {(storage_id(each), each.shape, each.stride()) for each in slices}
    offsets = [int(each.storage_offset()) for each in slices]
    distances = {after - before for before, after in pairwise(offsets)}
    return min(distances) if len(layouts) == len(distances) == 1 and min(distances) > 0 else None


def pair(value: int | Pair | Any) -> Pair:
    """An image option as torch takes it, one number or two, as a pair."""
    return (value, value) if isinstance(value, int) else (value[0], value[-1])
