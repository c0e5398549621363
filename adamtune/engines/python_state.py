"""Values that a model or its code keeps in Python, such as counters: where they are, and whether they change.

A training step may change attributes of modules and of the task, and globals of the user's files. A capture
does not repeat such changes, so lockstep is refused; the sequential engine keeps them with each training.
"""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from operator import length_hint
from types import FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn

from adamtune.engines.torch_private import change_counts

GENERATORS = torch.Generator | np.random.Generator | np.random.RandomState | random.Random
LEAVES: Any = bool | int | float | complex | str | Tensor | np.ndarray | GENERATORS | Iterator
PACKAGES = {"torch", "numpy", "pandas", "polars", "adamtune", "IPython", "ipykernel"}
"""Packages into whose objects nobody looks for counters."""
FOREIGN = PACKAGES | sys.stdlib_module_names - {"__main__", "builtins", "collections", "types"}
DEPTH = 8
"""The deepest nesting that is looked into."""
MOST = 100_000
"""So many values are looked at behind one attribute; what comes after them is taken for data."""
LARGE = 1_000_000
"""Larger arrays, and tensors outside of the model, are taken for data, which do not change."""


class Root(NamedTuple):
    """An attribute that may hold what changes.

    Attributes:
        owner: a module, a task, or a file.
        name: the attribute's name.
    """

    owner: Any
    name: str

    @property
    def value(self) -> Any:
        """The attribute's value; None if there is none."""
        return getattr(self.owner, self.name, None)


def model_roots(module: nn.Module) -> dict[str, Root]:
    """The attributes of each of a model's modules, by dotted name."""
    usual = vars(nn.Module()).keys()
    return {
        f"{prefix}.{name}".lstrip("."): Root(each, name)
        for prefix, each in module.named_modules()
        for name in vars(each)
        if name not in usual
    }


def children(value: Any) -> Iterator[tuple[str, Any]]:
    """What a container, an object, a function or a class holds, each with a name for messages."""
    if isinstance(value, dict):
        return ((f"[{key!r}]", each) for key, each in value.items())
    if isinstance(value, list | tuple | deque):
        return ((f"[{index}]", each) for index, each in enumerate(value))
    if isinstance(value, set | frozenset):
        return ((f"{{{each!r}}}", each) for each in value)
    return ((f".{name}", each) for name, each in attributes_of(value).items())


def attributes_of(value: Any) -> dict[str, Any]:
    """What an object, a function or a class of the user holds, by name."""
    if isinstance(value, FunctionType):
        if _package(value) in FOREIGN:
            return {}
        cells = dict(zip(value.__code__.co_freevars, value.__closure__ or (), strict=True))
        kept = {name: each.cell_contents for name, each in cells.items() if _is_filled(each)}
        return {
            **kept,
            "__defaults__": value.__defaults__,
            "__kwdefaults__": value.__kwdefaults__,
            **vars(value),
        }
    if isinstance(value, MethodType):
        return {"__self__": value.__self__, "__func__": value.__func__}
    if isinstance(value, partial):
        return {"func": value.func, "args": value.args, "keywords": value.keywords}
    if isinstance(value, type) and _package(value) in sys.stdlib_module_names - {"__main__"}:
        return {}
    kind = value if isinstance(value, type) else type(value)
    if (_package(kind) in FOREIGN and not issubclass(kind, nn.Module)) or isinstance(value, ModuleType):
        return {}
    own = getattr(value, "__dict__", {})
    return {name: each for name, each in own.items() if not name.startswith("__")}


def _package(value: type | FunctionType) -> str:
    return value.__module__.partition(".")[0]


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def leaves(roots: Mapping[str, Root], known: Collection[int]) -> dict[str, Any]:
    """Plain values, tensors, arrays, generators and iterators behind roots, by where they are.

    Args:
        roots: where to look.
        known: the ids of objects that are not looked into, such as the model's modules.
    """
    seen, found = set(known), dict[str, Any]()

    def visit(name: str, value: Any, depth: int) -> None:
        if isinstance(value, LEAVES):
            found[name] = value
        elif depth and id(value) not in seen:
            seen.add(id(value))
            for inner, each in children(value):
                if len(found) >= most:
                    break
                visit(name + inner, each, depth - 1)

    for name, root in roots.items():
        most = len(found) + MOST
        visit(name, root.value, DEPTH)
    return found


def replace_leaves(roots: Mapping[str, Root], known: Collection[int], values: Mapping[str, Any]) -> None:
    """Puts values in the places of ``leaves``, by the names of these.

    Raises:
        TypeError: one is in a tuple or a set.
    """
    seen = set(known)

    def visit(name: str, holder: Any, place: Any, value: Any) -> None:
        if name in values:
            if isinstance(holder, dict | list | deque):
                holder[place] = values[name]
            elif isinstance(holder, tuple | set | frozenset):
                raise TypeError(f"{name} is in a {type(holder).__name__}")
            else:
                set_attribute(holder, place, values[name])
        elif not isinstance(value, LEAVES) and id(value) not in seen:
            seen.add(id(value))
            for key, (inner, each) in zip(_places(value), children(value), strict=True):
                visit(name + inner, value, key, each)

    for name, root in roots.items():
        visit(name, root.owner, root.name, root.value)


def _places(value: Any) -> Iterable[Any]:
    """Where each of the ``children`` of a value is."""
    if isinstance(value, dict | set | frozenset):
        return list(value)
    return range(len(value)) if isinstance(value, list | tuple | deque) else list(attributes_of(value))


def snapshots(roots: Mapping[str, Root], known: Collection[int]) -> dict[str, Any]:
    """A ``snapshot`` of each of the ``leaves``."""
    return {name: snapshot(value) for name, value in leaves(roots, known).items()}


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The names of the snapshots that are new, not as before, or no longer there."""
    found = [name for name, each in now.items() if name not in before or not unchanged(before[name], each)]
    return found + [name for name in before if name not in now]


def snapshot(value: Any) -> Any:
    """What tells whether a leaf has changed; compare with ``unchanged``."""
    if isinstance(value, Tensor):
        return value, change_counts(value)
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, id(value) if value.size > LARGE else crc32(value.tobytes())
    if isinstance(value, GENERATORS):
        state = generator_state(value)
        return state.numpy().tobytes() if isinstance(state, Tensor) else repr(state)
    if isinstance(value, GeneratorType):
        frame = value.gi_frame
        return frame and (frame.f_lasti, repr(frame.f_locals))
    return (length_hint(value, -1), repr(value)) if isinstance(value, Iterator) else value


def unchanged(before: Any, now: Any) -> bool:
    """Whether two snapshots are those of equal values."""
    if type(before) is not type(now):
        return False
    if not (isinstance(now, tuple) and isinstance(now[0], Tensor)):
        return bool(before == now or repr(before) == repr(now) == "nan")
    (old, count), (new, now_count) = before, now
    if not isinstance(old, Tensor) or old is new:
        return old is new and count == now_count
    alike = old.dtype == new.dtype and old.shape == new.shape and old.device == new.device
    return bool(alike and (old == new).all())


def generator_state(generator: Any) -> Any:
    """The state of a random generator of torch, NumPy or Python, in its own form."""
    if isinstance(generator, torch.Generator):
        return generator.get_state()
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    return generator.getstate() if isinstance(generator, random.Random) else generator.get_state()


def set_attribute(owner: Any, name: str, value: Any) -> None:
    """Changes one of ``attributes_of`` an object, a function or a class."""
    if isinstance(owner, FunctionType) and name in owner.__code__.co_freevars:
        assert owner.__closure__ is not None
        owner.__closure__[owner.__code__.co_freevars.index(name)].cell_contents = value
    elif not (name.startswith("__") or isinstance(owner, partial)):  # their values have changed in place
        set_value: Callable[..., None] = setattr if isinstance(owner, type) else object.__setattr__
        set_value(owner, name, value)
