"""What the steps of a task change outside of its model, such as a counter that is a global of a file.

The trainings of a process share it, so that each would go on where another one stopped. ``SharedState`` gives
each model values of its own.
"""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FunctionType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary, ref

from torch import nn

from adamtune.engines.python_state import (
    FOREIGN,
    LARGE,
    LEAVES,
    Root,
    changed,
    snapshots,
)
from adamtune.engines.stored_values import CannotStore, made, size, stored
from adamtune.tasks.base import Task
from adamtune.tasks.loaded import LoadedTask

LOOKS = 3
"""Steps of each task, and evaluations, that are looked at for what they change."""
SMALL = 10_000
"""The most numbers and other values of a global that may change after the first ``LOOKS`` steps."""
VALUES: Any = LEAVES | dict | list | deque | set | None


class SharedState:
    """The values outside of models that steps of tasks of one class change: each model has its own."""

    def __init__(self) -> None:
        self._roots: dict[str, Root] = {}
        self._first: dict[str, Any] = {}  # the values before the first step of a training
        self._own: WeakKeyDictionary[nn.Module, dict[str, Any]] = WeakKeyDictionary()
        self._active: ref[nn.Module] | None = None
        self._looks: WeakKeyDictionary[LoadedTask, Counter[bool]] = WeakKeyDictionary()  # by the model's mode
        self._changed: WeakKeyDictionary[LoadedTask, list[str]] = WeakKeyDictionary()

    def changed(self, task: LoadedTask) -> list[str]:
        """Where the task's first steps changed a value, in words."""
        return self._changed.get(task, [])

    @contextmanager
    def of(self, task: LoadedTask, model: nn.Module) -> Iterator[None]:
        """While it is entered, the task's code has the values of the model."""
        self._activate(model)
        looks, mode = self._looks.setdefault(task, Counter()), model.training
        if looks[mode] < LOOKS:
            with self._look(task, model):
                yield
            looks[mode] += 1
        else:
            yield

    @contextmanager
    def _look(self, task: LoadedTask, model: nn.Module) -> Iterator[None]:
        """Finds what changes while it is entered."""
        roots = shared_roots(task, model)
        known = {id(each) for each in model.modules()}
        before = {name: snapshots({name: each}, known) for name, each in roots.items()}
        first = {name: stored(each.value, LARGE) for name, each in roots.items()}
        yield
        owners, found, moved = set[int](), self._changed.setdefault(task, []), set[str]()
        for name, each in roots.items():
            if places := changed(before[name], snapshots({name: each}, known)):
                found += [place for place in places if place not in found]
                owners.add(id(each.owner))
                moved.add(name)
        # Others of the same file may change in later steps. Large ones are taken for data: each training that
        # goes on after another one copies all.
        for name, each in roots.items():
            small = name in moved or size(first[name]) <= SMALL
            if id(each.owner) in owners and small and name not in self._roots:
                self._roots[name], self._first[name] = each, first[name]
        self._active = ref(model)

    def values(self, model: nn.Module) -> dict[str, Any]:
        """The values of a model, as a checkpoint can hold them."""
        if self._active is not None and self._active() is model:
            return self._stored()
        return dict(self._own.get(model, self._first))

    def put(self, task: LoadedTask, model: nn.Module, values: Mapping[str, Any]) -> None:
        """Gives a model the values that ``values`` returned."""
        roots = shared_roots(task, model)
        for name in values.keys() - self._roots.keys():
            if name in roots:
                self._roots[name], self._first[name] = roots[name], stored(roots[name].value, LARGE)
        self._own[model] = dict(values)
        if self._active is not None and self._active() is model:
            self._active = None

    def _activate(self, model: nn.Module) -> None:
        active = None if self._active is None else self._active()
        if not self._roots or active is model:
            return
        if active is not None:
            self._own[active] = self._stored()
        for name, tree in {**self._first, **self._own.get(model, {})}.items():
            root = self._roots[name]
            with suppress(CannotStore, AttributeError, ValueError):  # such an object remains everybody's
                setattr(root.owner, root.name, made(tree, root.value))
        self._active = ref(model)

    def _stored(self) -> dict[str, Any]:
        return {name: stored(each.value, LARGE) for name, each in self._roots.items()}


_STATES: WeakKeyDictionary[type, SharedState] = WeakKeyDictionary()


def shared_state(task: LoadedTask) -> SharedState:
    """What tasks of this one's class share."""
    return _STATES.setdefault(type(_user_task(task)), SharedState())


def _user_task(task: LoadedTask) -> Any:
    return getattr(task, "task", task)


def shared_roots(task: LoadedTask, module: nn.Module) -> dict[str, Root]:
    """Attributes of a task, and globals of the user's files, by a name for messages."""
    own = _user_task(task)
    names = {**vars(own), **(getattr(own, "__pydantic_private__", None) or {})}
    usual = Task.__private_attributes__
    found = {f"task attribute {name}": Root(own, name) for name in names if name not in usual}
    files = _files_of(own, module)
    for file in files.values():
        found |= {
            f"global {file.__name__}.{name}": Root(file, name)
            for name, value in list(vars(file).items())
            if not name.startswith("__") and _may_change(value, files)
        }
    return found


def _files_of(task: Any, module: nn.Module) -> dict[str, ModuleType]:
    """The files of a task and of the classes of its modules, and what they import that is not installed."""
    objects = (task, *module.modules())
    used = [value for each in objects for value in (each, *vars(each).values())]
    kinds = (each if isinstance(each, FunctionType) else type(each) for each in used)
    direct = {each.__module__ for each in kinds}
    own = type(task).__module__.partition(".")[0]
    names, found = deque(sorted(direct)), dict[str, ModuleType]()
    while names:
        name = names.popleft()
        each = sys.modules.get(name)
        package = name.partition(".")[0]
        if each is None or name in found or package in {*FOREIGN, *sys.stdlib_module_names} - {"__main__"}:
            continue
        if name in direct or name.partition(".")[0] == own or not _is_installed(each):
            found[name] = each
            names.extend(_named_by(each))
    return found


def _is_installed(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    return file is None or bool({"site-packages", "dist-packages"} & set(file.replace("\\", "/").split("/")))


def _named_by(file: ModuleType) -> Iterator[str]:
    """The names of the modules that a file has imported, or from which it has imported something."""
    for value in list(vars(file).values()):
        if isinstance(value, ModuleType):
            yield value.__name__
        elif isinstance(value, type | FunctionType):
            yield value.__module__


def _may_change(value: Any, files: Mapping[str, ModuleType]) -> bool:
    """Whether a global is a value, or a function, a class or an object of the user's."""
    kind = value if isinstance(value, type | FunctionType) else type(value)
    return isinstance(value, VALUES) or kind.__module__ in files
