"""Values that a model or its code keeps in Python, such as counters: where they are, and how they are stored.

A training step may change attributes of modules and of the task, and globals of the user's files. A capture
does not repeat such changes, so lockstep is refused; the sequential engine keeps them with each training.
"""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from functools import partial
from operator import length_hint
from types import FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn

from adamtune.engines.torch_private import change_counts

PLAIN = (bool, int, float, str, type(None))
GENERATORS = torch.Generator | np.random.Generator | np.random.RandomState | random.Random
LEAVES: Any = bool | int | float | complex | str | Tensor | np.ndarray | GENERATORS | Iterator
PACKAGES = {"torch", "numpy", "pandas", "polars", "adamtune"}
"""Packages into whose objects nobody looks for counters."""
FOREIGN = PACKAGES | sys.stdlib_module_names - {"__main__", "builtins", "collections", "types"}
DEPTH = 8
"""The deepest nesting that is looked into."""
LARGE = 1_000_000
"""Tensors with more elements outside of the model are taken for data, which do not change."""


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


class CannotStore(Exception):
    """A value cannot be made again from what was stored."""


def model_roots(module: nn.Module) -> dict[str, Root]:
    """The attributes of each of a model's modules, by dotted name."""
    usual = vars(nn.Module()).keys()
    return {
        f"{prefix}.{name}".lstrip("."): Root(each, name)
        for prefix, each in module.named_modules()
        for name in vars(each)
        if name not in usual
    }


def children(value: Any) -> dict[str, Any]:
    """What a container, an object, a function or a class holds, by a name for messages."""
    if isinstance(value, dict):
        return {f"[{key!r}]": each for key, each in value.items()}
    if isinstance(value, list | tuple | deque):
        return {f"[{index}]": each for index, each in enumerate(value)}
    if isinstance(value, set | frozenset):
        return {f"{{{each!r}}}": each for each in value}
    return {f".{name}": each for name, each in _attributes(value).items()}


def _attributes(value: Any) -> dict[str, Any]:
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
            for inner, each in children(value).items():
                visit(name + inner, each, depth - 1)

    for name, root in roots.items():
        visit(name, root.value, DEPTH)
    return found


def snapshots(roots: Mapping[str, Root], known: Collection[int]) -> dict[str, Any]:
    """A ``snapshot`` of each of the ``leaves``."""
    return {name: snapshot(value) for name, value in leaves(roots, known).items()}


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The names of the snapshots that are new or not as before."""
    return [name for name, each in now.items() if name not in before or not unchanged(before[name], each)]


def snapshot(value: Any) -> Any:
    """What tells whether a leaf has changed; compare with ``unchanged``."""
    if isinstance(value, Tensor):
        return value, change_counts(value)
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, crc32(value.tobytes())
    if isinstance(value, GENERATORS):
        return repr(_generator_state(value))
    if isinstance(value, GeneratorType):
        frame = value.gi_frame
        return frame and (frame.f_lasti, repr(frame.f_locals))
    return (length_hint(value, -1), repr(value)) if isinstance(value, Iterator) else value


def unchanged(before: Any, now: Any) -> bool:
    """Whether two snapshots are those of equal values."""
    if type(before) is not type(now):
        return False
    if not (isinstance(now, tuple) and isinstance(now[0], Tensor)):
        return bool(before == now)
    (old, count), (new, now_count) = before, now
    if not isinstance(old, Tensor) or old is new:
        return old is new and count == now_count
    alike = old.dtype == new.dtype and old.shape == new.shape and old.device == new.device
    return bool(alike and (old == new).all())


def stored(value: Any, largest: float = float("inf"), within: tuple[int, ...] = ()) -> Any:
    """A value as lists of tensors and plain values, which a checkpoint can hold; see ``made``.

    Args:
        value: the value.
        largest: the most elements of tensors that are stored.
        within: the ids of objects that are not stored, such as those that hold this one.
    """

    def each_of(values: Any) -> list[Any]:
        return [stored(each, largest, (*within, id(value))) for each in values]

    kind = type(value).__name__
    if type(value) in PLAIN:
        return value
    if isinstance(value, Tensor) and value.numel() <= largest:
        return value.detach().to("cpu", copy=True)
    if isinstance(value, np.ndarray) and value.size <= largest:
        with suppress(TypeError):  # text and objects
            return ["array", torch.from_numpy(value.copy())]
    if isinstance(value, complex):
        return ["complex", value.real, value.imag]
    if isinstance(value, GENERATORS):
        return ["generator", stored(_generator_state(value))]
    if id(value) in within or len(within) > DEPTH or isinstance(value, LEAVES):
        return ["left", "an iterator" if isinstance(value, Iterator) else kind]
    if type(value) in (list, tuple, set, frozenset) or isinstance(value, deque):
        return [kind, each_of(value)]
    if isinstance(value, dict):
        return ["dict", each_of(value), each_of(value.values())]
    own = _attributes(value)
    return ["object", kind, list(own), each_of(own.values())] if own else ["left", kind]


def made(tree: Any, current: Any) -> Any:
    """The value that ``stored`` was called with, made from the one that is there.

    Raises:
        CannotStore: it cannot be made.
    """
    if isinstance(tree, Tensor):
        return _made_tensor(tree, current)
    if not isinstance(tree, list):
        return tree
    kind, *parts = tree
    if kind == "array":
        return parts[0].numpy().copy()
    if kind == "complex":
        return complex(*parts)
    if kind in {"generator", "left", "object"}:
        return _changed_object(kind, parts, current)
    if kind == "dict":
        kept = current if isinstance(current, dict) else {}
        keys = [made(key, None) for key in parts[0]]
        new = {key: made(each, kept.get(key)) for key, each in zip(keys, parts[1], strict=True)}
        kept.clear()
        kept.update(new)
        return kept
    before = list(current) if isinstance(current, list | tuple | deque) else []
    before += [None] * (len(parts[0]) - len(before))
    values = [made(each, was) for each, was in zip(parts[0], before, strict=False)]
    if kind == "deque":
        return deque(values, getattr(current, "maxlen", None))
    if kind == "list" and isinstance(current, list):
        current[:] = values
        return current
    return {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}[kind](values)


def _made_tensor(tensor: Tensor, current: Any) -> Tensor:
    if not isinstance(current, Tensor):
        return tensor.clone()
    if not isinstance(current, nn.Parameter):
        return tensor.to(current.device, copy=True)
    current.data.copy_(tensor)
    return current


def _changed_object(kind: str, parts: list[Any], current: Any) -> Any:
    """The object that is there, with what was stored of it."""
    if kind == "generator":
        if not isinstance(current, GENERATORS):
            raise CannotStore("a random generator")
        _set_generator_state(current, parts[0])
        return current
    if type(current).__name__ != parts[0]:
        raise CannotStore(parts[0])
    if kind == "object":
        own = _attributes(current)
        for name, tree in zip(*parts[1:], strict=True):
            _set_attribute(current, name, made(tree, own.get(name)))
    return current


def _set_attribute(owner: Any, name: str, value: Any) -> None:
    if isinstance(owner, FunctionType) and name in owner.__code__.co_freevars:
        assert owner.__closure__ is not None
        owner.__closure__[owner.__code__.co_freevars.index(name)].cell_contents = value
    elif not (name.startswith("__") or isinstance(owner, partial)):  # their values have changed in place
        set_value: Callable[..., None] = setattr if isinstance(owner, type) else object.__setattr__
        set_value(owner, name, value)


def _generator_state(generator: Any) -> Any:
    if isinstance(generator, torch.Generator):
        return generator.get_state()
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    return generator.getstate() if isinstance(generator, random.Random) else generator.get_state()


def _set_generator_state(generator: Any, tree: Any) -> None:
    state = made(tree, None)
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, random.Random):
        generator.setstate(state)
    else:
        generator.set_state(state)
