"""Values of Python as lists of tensors and plain values, which a checkpoint can hold, and back."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from math import inf, isfinite
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adamtune.engines.python_state import (
    DEPTH,
    GENERATORS,
    LEAVES,
    MOST,
    attributes_of,
    changed,
    generator_state,
    model_roots,
    set_attribute,
    snapshots,
)

PLAIN = (bool, int, float, str, type(None))


class CannotStore(Exception):
    """A value cannot be made again from what was stored."""


class ModuleValues:
    """What the modules of a model keep in Python, which training may change.

    Args:
        module: the model before its first step.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._known = {id(each) for each in module.modules()}
        self._first = self._snapshots()

    def changed(self) -> dict[str, Any]:
        """The attributes that have changed since the first step by dotted name, as ``stored`` gives them."""
        roots = model_roots(self._module)
        return {
            name: stored(roots[name].value, known=self._known)
            for name, now in self._snapshots().items()
            if changed(self._first.get(name, {}), now)
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Sets the attributes to what ``changed`` returned. Raises CannotStore if one cannot be made."""
        for path, tree in saved.items():
            prefix, _, name = path.rpartition(".")
            owner = self._module.get_submodule(prefix)
            setattr(owner, name, made(tree, getattr(owner, name, None)))

    def _snapshots(self) -> dict[str, dict[str, Any]]:
        roots = model_roots(self._module).items()
        return {name: snapshots({name: each}, self._known) for name, each in roots}


def stored(value: Any, largest: float = inf, known: Collection[int] = ()) -> Any:
    """A value as lists of tensors and plain values, which a checkpoint can hold; see ``made``.

    Args:
        value: the value.
        largest: the most elements of tensors that are stored. If it is finite, at most ``MOST`` values are.
        known: the ids of objects that are not stored.
    """
    return _Trees(largest, known).tree(value, DEPTH)


class _Trees:
    """The trees of ``stored``; an object that several others hold is in the first of them."""

    def __init__(self, largest: float, known: Collection[int]) -> None:
        self._largest, self._seen = largest, set(known)
        self._room = MOST if isfinite(largest) else inf

    def tree(self, value: Any, depth: int) -> Any:
        """The value as ``made`` takes it; objects that are held deeper than ``depth`` are left out."""
        kind = type(value).__name__
        if type(value) in PLAIN:
            return value
        if isinstance(value, Tensor) and value.numel() <= self._largest:
            return value.detach().to("cpu", copy=True)
        if isinstance(value, np.ndarray) and value.size <= self._largest:
            with suppress(TypeError):  # text and objects
                return ["array", torch.from_numpy(value.copy())]
        if isinstance(value, complex):
            return ["complex", value.real, value.imag]
        if isinstance(value, GENERATORS):
            return ["generator", stored(generator_state(value))]
        if isinstance(value, LEAVES):
            return ["left", "an iterator" if isinstance(value, Iterator) else kind]
        if id(value) in self._seen or not depth:
            return ["left", kind]
        self._seen.add(id(value))
        return self._held(value, kind, depth - 1)

    def _held(self, value: Any, kind: str, depth: int) -> list[Any]:
        """The tree of a container, an object, a function or a class."""
        head: list[Any] = [kind]
        if type(value) in (list, tuple, set, frozenset) or isinstance(value, deque):
            parts = [list(value)]
        elif isinstance(value, dict):
            head, parts = ["dict"], [list(value), list(value.values())]
        else:
            own = attributes_of(value)
            head, parts = ["object", kind, list(own)], [list(own.values())]
        self._room -= sum(map(len, parts))
        if self._room < 0 or (not any(parts) and head[0] == "object"):
            return ["left", kind]
        return [*head, *([self.tree(each, depth) for each in part] for part in parts)]


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


def size(tree: Any) -> int:
    """The numbers and other values in what ``stored`` returned."""
    if isinstance(tree, list):
        return sum(map(size, tree))
    return tree.numel() if isinstance(tree, Tensor) else 1


def _made_tensor(tensor: Tensor, current: Any) -> Tensor:
    if not isinstance(current, Tensor):
        return tensor.clone()
    if not isinstance(current, nn.Parameter):
        return tensor.to(current.device, copy=True)
    with torch.no_grad():  # not by ``data``, which does not count the change
        return current.copy_(tensor)


def _changed_object(kind: str, parts: list[Any], current: Any) -> Any:
    """The object that is there, with what was stored of it."""
    if kind == "generator":
        if not isinstance(current, GENERATORS):
            raise CannotStore("a random generator")
        _set_state(current, parts[0])
        return current
    if type(current).__name__ != parts[0]:
        raise CannotStore(parts[0])
    if kind == "object":
        own = attributes_of(current)
        for name, tree in zip(*parts[1:], strict=True):
            set_attribute(current, name, made(tree, own.get(name)))
    return current


def _set_state(generator: Any, tree: Any) -> None:
    state = made(tree, None)
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, Random):
        generator.setstate(state)
    else:
        generator.set_state(state)
