"""What a step changes beside parameters and buffers, such as counters: a capture does not repeat it."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from adamtune.engines.torch_private import change_counts

PLAIN = bool | int | float | complex | str
PACKAGES = {"torch", "numpy", "pandas", "polars", "adamtune"}
"""Packages into whose objects nobody looks for counters."""
DEPTH = 6
"""The deepest nesting that is looked into."""


def changed_values(roots: Callable[[], Mapping[str, Any]], step: Callable[[], object]) -> dict[str, Any]:
    """The values that a step changes, by where they are.

    Args:
        roots: what is looked into for values, by name.
        step: a training step.
    """
    before = {name: _snapshot(value) for name, value in _values(roots())}
    step()
    return {
        name: value
        for name, value in _values(roots())
        if name not in before or not _same(before[name], _snapshot(value))
    }


def state_of(module: nn.Module, task: Any) -> dict[str, Any]:
    """Where a model's author may keep what changes: attributes of modules and of the task, and globals.

    Args:
        module: the model.
        task: the task; its settings do not change.
    """
    usual = vars(nn.Module()).keys()
    found: dict[str, Any] = {}
    modules = list(module.named_modules())
    for prefix, each in modules:
        own = {name: value for name, value in vars(each).items() if name not in usual}
        found |= {f"attribute {prefix}.{name}".replace(" .", " "): value for name, value in own.items()}
    private = getattr(task, "__pydantic_private__", None) or {}
    found |= {f"attribute {name} of the task": value for name, value in private.items()}
    for name in dict.fromkeys(type(each).__module__ for each in (task, *(each for _, each in modules))):
        if name.partition(".")[0] not in PACKAGES:
            own = vars(sys.modules[name]) if name in sys.modules else {}
            found |= {
                f"global {name}.{key}": value
                for key, value in own.items()
                if isinstance(value, PLAIN | Tensor | dict | list) and not key.startswith("__")
            }
    return found


def _values(roots: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yields plain values, tensors and arrays, also those inside of plain objects, by where they are."""
    seen: set[int] = set()

    def visit(name: str, value: Any, depth: int) -> Iterator[tuple[str, Any]]:
        if isinstance(value, PLAIN | Tensor | np.ndarray):
            yield name, value
        elif depth and id(value) not in seen:
            seen.add(id(value))
            for inner, each in _parts(value):
                yield from visit(name + inner, each, depth - 1)

    for name, value in roots.items():
        yield from visit(name, value, DEPTH)


def _parts(value: Any) -> list[tuple[str, Any]]:
    """What a container or a plain object holds; nothing of modules, functions, types and large packages."""
    if isinstance(value, dict):
        return [(f"[{key!r}]", each) for key, each in value.items()]
    if isinstance(value, list | tuple | deque):
        return [(f"[{index}]", each) for index, each in enumerate(value)]
    foreign = isinstance(value, type | nn.Module) or type(value).__module__.partition(".")[0] in PACKAGES
    own = {} if foreign or callable(value) else getattr(value, "__dict__", {})
    return [(f".{name}", each) for name, each in own.items()]


def _snapshot(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value, change_counts(value)
    return value.copy() if isinstance(value, np.ndarray) else value


def _same(before: Any, now: Any) -> bool:
    if type(before) is not type(now):
        return False
    if isinstance(now, tuple):
        unchanged = before[0] is now[0] and before[1] == now[1]
        return unchanged or (before[0] is not now[0] and _equal(before[0], now[0]))
    return _equal(before, now)


def _equal(before: Any, now: Any) -> bool:
    if isinstance(now, Tensor | np.ndarray):
        alike = before.dtype == now.dtype and before.shape == now.shape and before.device == now.device
        return bool(alike and (before == now).all())
    return bool(before == now)
