"""Compares batching rules with torch's own functions, member by member."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import vmap

from adamtune.engines.batching.mode import BatchingRules

MEMBERS = 3
Function = Callable[..., Tensor]


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def counted_calls(monkeypatch: pytest.MonkeyPatch, kernel: Any) -> list[bool]:
    """A list that gets an element for each forward call of a kernel."""
    made: list[bool] = []
    real = kernel.forward

    def counted(*args: Any) -> Any:
        made.append(True)
        return real(*args)

    monkeypatch.setattr(kernel, "forward", staticmethod(counted))
    return made


def assert_equals_torch(
    function: Function, shapes: Sequence[tuple[int, ...]], own: tuple[int, ...] | None = None
) -> None:
    """Asserts equal values and gradients, with each input shared by all members or one a member, in all ways.

    Args:
        function: takes the inputs of one member.
        shapes: of the inputs of one member.
        own: places of inputs of which at least one is not shared; any of all if None.
    """
    for shared in range(2 ** len(shapes) - 1):
        dims = [None if shared >> place & 1 else 0 for place in range(len(shapes))]
        if own and all(dims[place] is None for place in own):
            continue
        inputs = [
            drawn(place, *(() if dim is None else (MEMBERS,)), *shape)
            for place, (dim, shape) in enumerate(zip(dims, shapes, strict=True))
        ]
        assert_members_equal_torch(function, inputs, dims)


def assert_members_equal_torch(
    function: Function, inputs: Sequence[Tensor], dims: Sequence[int | None]
) -> None:
    """Asserts equal values and gradients of a function with batching rules and by torch.

    Args:
        function: takes the inputs of one member.
        inputs: those of all members.
        dims: 0 for an input ``[members, ...]``, None for one that all members share.
    """
    with BatchingRules():
        found = values_and_gradients(vmap(function, tuple(dims)), inputs)
    expected = values_and_gradients(
        lambda *all_: torch.stack(
            [
                function(*(x if d is None else x[m] for x, d in zip(all_, dims, strict=True)))
                for m in range(MEMBERS)
            ]
        ),
        inputs,
    )
    assert expected[0].detach().abs().max() > 0
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-12)


def values_and_gradients(function: Function, inputs: Sequence[Tensor]) -> list[Tensor]:
    leaves = [each.clone().requires_grad_() for each in inputs]
    values = function(*leaves)
    # A sum of squares would hide a gradient that is mixed up between members or positions.
    weights = torch.linspace(1, 2, values.numel()).view_as(values)
    return [values.detach(), *torch.autograd.grad((values * weights).sum(), leaves)]
