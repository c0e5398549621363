"""What a step changes beside parameters and buffers, such as counters: a capture does not repeat it."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adamtune.engines.base import Source
from adamtune.engines.population.capture import CannotCapture
from adamtune.engines.population.plain_module import TOLERANCE, PlainModule, compare
from adamtune.engines.torch_private import change_counts
from adamtune.errors import memory_error

PLAIN = bool | int | float | complex | str
PACKAGES = {"torch", "numpy", "pandas", "polars", "adamtune"}
"""Packages into whose objects nobody looks for counters."""
DEPTH = 6
"""The deepest nesting that is looked into."""


def check_state(source: Source) -> None:
    """Refuses a model whose steps change more than parameters and buffers: a capture would not repeat it.

    Raises:
        CannotCapture: a step changes a value that it reads, or draws from Python's or NumPy's generator.
    """
    plain, twin = PlainModule(source, 0), PlainModule(source, 0)
    task = getattr(source.task, "task", source.task)

    def take_first_steps(each: PlainModule) -> dict[str, Any]:
        each.step(0, each.batch(0))  # what a model sets up at its first call does not matter
        return changed_values(lambda: state_of(each.module, task), lambda: each.step(1, each.batch(1)))

    changed = take_first_steps(plain)
    if source.foreign_draws is not None:
        raise CannotCapture(f"the loss draws from {source.foreign_draws}: draw with torch instead")
    for name, value in changed.items():
        if not isinstance(value, Tensor):
            raise CannotCapture(f"a step changes the {name}: make it a buffer (register_buffer)")
    # A tensor that is only kept for others to look at does no harm: the next step gives the same without it.
    tensors = [*twin.module.parameters(), *twin.module.buffers()]
    kept = take_first_steps(twin).values()
    with torch.no_grad():
        before = [each.clone() for each in tensors]
        for value in kept:
            if isinstance(value, Tensor):
                value.detach().fill_(torch.nan if value.is_floating_point() or value.is_complex() else -1)
        for target, value in zip(tensors, before, strict=True):
            target.copy_(value)
    try:
        _compare_steps(plain, twin)
    except Exception as error:
        if memory_error(error) is not None:
            raise
        for name in changed:
            raise CannotCapture(f"a step changes the {name}: make it a buffer (register_buffer)") from error
        raise CannotCapture(
            "the loss changes from call to call with the same weights, batch and draws: if it counts its"
            " calls, keep the count in a buffer of the model (register_buffer)"
        ) from error


def _compare_steps(plain: PlainModule, twin: PlainModule) -> None:
    """Takes the third step of both. Raises Different if they differ."""
    (loss, gradients), (wanted, others) = (each.step(2, each.batch(2)) for each in (plain, twin))
    compare("the ", {"loss": loss}, {"loss": wanted}, TOLERANCE)
    found = {name: value for name, value in gradients.items() if value is not None}
    compare("the gradient of ", found, {name: others[name] for name in found}, TOLERANCE)
    compare("the buffer ", plain.tensors(trained=False), twin.tensors(trained=False), TOLERANCE)


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
