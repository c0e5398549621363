"""Leaves ``vmap`` for a function that computes all members at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

Pair = tuple[int, int]


def for_members(function: Callable[..., Any], *tensors: Tensor) -> Tensor:
    """Under ``vmap``, the function of all members' tensors, members first; it returns one, or a tuple.

    A tensor that the members share arrives expanded, with a stride of 0 over the members.
    """
    found: Tensor = _Members.apply(function, *tensors)
    return found


class _Members(torch.autograd.Function):
    @staticmethod
    def forward(function: Callable[..., Any], *tensors: Tensor) -> Any:
        """Tensors that no member has of its own: they have no gradient either."""
        found = function(*(each.unsqueeze(0) for each in tensors))
        return found.squeeze(0) if isinstance(found, Tensor) else tuple(each.squeeze(0) for each in found)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept: there is no backward pass."""

    @staticmethod
    def vmap(info: Any, dims: Any, function: Callable[..., Any], *tensors: Tensor) -> tuple[Any, Any]:
        """Moves the members to the front and calls the function."""
        leading = [
            tensor.expand(info.batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
            for dim, tensor in zip(dims[1:], tensors, strict=True)
        ]
        found = function(*leading)
        return found, 0 if isinstance(found, Tensor) else (0,) * len(found)


def bind(function: type[torch.autograd.Function], *settings: Any) -> Callable[..., Any]:
    """The function for some tensors and these further arguments."""
    return lambda *tensors: function.apply(*tensors, *settings)


def dense(tensor: Tensor) -> Tensor:
    """Contiguous, but for a stride of 0 over members that share it."""
    if tensor.stride(0) == 0:
        return tensor[:1].contiguous().expand_as(tensor)
    return tensor.contiguous()


def step_between(slices: Sequence[Tensor]) -> int | None:
    """How far apart in memory equally laid out slices of one tensor lie, in order; None if they do not."""
    layouts = {(each.untyped_storage()._cdata, each.shape, each.stride()) for each in slices}
    places = [int(each.storage_offset()) for each in slices]
    steps = {after - before for before, after in pairwise(places)}
    return min(steps) if len(layouts) == len(steps) == 1 and min(steps) > 0 else None


def pair(value: int | Pair | Any) -> Pair:
    """For both dimensions of an image."""
    return (value, value) if isinstance(value, int) else (value[0], value[-1])
