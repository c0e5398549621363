"""Rows as nested tuples, lists and dicts of tensors that share their first dimension."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from adamtune.tasks.base import Rows


def map_rows(function: Callable[[Tensor], Any], rows: Rows) -> Any:
    """The same tree with ``function`` of each tensor. A named tuple keeps its type."""
    if isinstance(rows, dict):
        return {name: map_rows(function, each) for name, each in rows.items()}
    if isinstance(rows, tuple | list):
        mapped = [map_rows(function, each) for each in rows]
        return type(rows)(*mapped) if hasattr(rows, "_fields") else type(rows)(mapped)
    return function(rows)


def leaves(rows: Rows) -> Iterator[Tensor]:
    """Yields the tensors of a tree, in order."""
    if isinstance(rows, dict | tuple | list):
        for each in rows.values() if isinstance(rows, dict) else rows:
            yield from leaves(each)
    else:
        yield rows


def count_rows(rows: Rows) -> int:
    """The number of rows: the first dimension of each tensor."""
    return len(next(leaves(rows)))


def take_rows(rows: Rows, index: Any) -> Any:
    """Copies of some rows of each tensor: ``index`` is a slice or int64 ``[n]``.

    A loss may change its batch in place.
    """
    return map_rows(lambda each: each[index].clone() if isinstance(index, slice) else each[index], rows)
