"""Finds tasks: the reference tasks by name, and those of users' files and packages. Torch-free to import."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from inspect import getfile, isclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, TypeGuard, get_args

from pydantic import PydanticUndefinedAnnotation, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from adamtune.errors import UsageError
from adamtune.function import Trainable
from adamtune.tasks.base import METHODS, Direction, Task
from adamtune.tasks.cnn import Cnn
from adamtune.tasks.entry import TaskEntry
from adamtune.tasks.mlp import Mlp
from adamtune.tasks.own_data import no_such_file
from adamtune.tasks.program import ProgramEntry, function_entry
from adamtune.tasks.source import line_of, load_file, load_module, user_errors
from adamtune.tasks.transformer import Transformer

TASKS: Mapping[str, TaskEntry] = {
    name: TaskEntry(name, each) for name, each in (("mlp", Mlp), ("cnn", Cnn), ("transformer", Transformer))
}
"""The reference tasks by name."""

GROUP = "adamtune.tasks"
"""The entry-point group under which a package offers tasks."""

OBJECT = "__main__"
"""The module in the names of tasks that were given as Python objects: ``__main__:NAME``."""

FORMS = "a file such as churn.py, a module such as package.module"
"""The other names of tasks, for messages."""


def find_task(name: str, folder: Path | None = None) -> TaskEntry | ProgramEntry | None:
    """The task or function that a study file names.

    Args:
        name: a reference task, a file, ``FILE:NAME``, a module, ``MODULE:NAME``, or an entry point of
            ``GROUP``.
        folder: a relative file is relative to it, or to the current folder.

    Returns:
        The task, whose own name has an absolute path; None if the name is none of these.

    Raises:
        UsageError: the file or module is wrong; the message names its file and line.
    """
    if name in TASKS:
        return TASKS[name]
    place, own_name = re.fullmatch(r"(.*?)(?::(\w+))?", name, re.DOTALL).groups("")  # type: ignore[union-attr]
    if place == OBJECT:
        raise UsageError(
            f"the task {own_name} is a Python class of a notebook or a program: run that again, which calls"
            f" adamtune.search(..., task={own_name})"
        )
    if place.endswith(".py"):
        path = _existing((folder or Path()).resolve() / Path(place).expanduser())
        found, own = _choose(load_file(path), own_name, place)
        if isinstance(own, Trainable):
            return function_entry(f"{path}:{found}", own, path, path.parent)
        return checked(TaskEntry(f"{path}:{own_name}" if own_name else str(path), own, path))
    for each in entry_points(group=GROUP, name=name):
        with user_errors(f"the entry point {name} of {GROUP}"):
            task = each.load()
        return checked(TaskEntry(name, task, _file_of(task)))
    if "." in place.strip(".") or own_name:
        module = load_module(place)
        found, own = _choose(module, own_name, place)
        if isinstance(own, Trainable):
            return function_entry(f"{place}:{found}", own, _file_of(module), Path())
        return checked(TaskEntry(name, own, _file_of(module)))
    return None


def _file_of(module: object) -> Path | None:
    try:
        return Path(getfile(module))  # type: ignore[arg-type]
    except TypeError:  # such as a package without __init__.py
        return None


def known_names() -> list[str]:
    """The names of the reference tasks and of those that installed packages offer."""
    return [*TASKS, *sorted(entry_points(group=GROUP).names)]


def _existing(path: Path) -> Path:
    """The path of a file, without ``..`` and links. Raises UsageError if there is no such file."""
    if not path.is_file():
        raise UsageError(no_such_file(path))
    return path.resolve()


def _choose(module: ModuleType, name: str, place: str) -> tuple[str, type[Task] | Trainable]:
    """The task or function of a module, with its name: the one of ``name``, or the only one it defines."""
    own = {each: value for each, value in _tasks(module) if _module_of(value) == module.__name__}
    if name:
        named = getattr(module, name, None)
        if _is_task(named):
            return name, named
        raise UsageError(f"{module.__file__}: has no task {name}; its tasks: {', '.join(own) or 'none'}")
    # A class that others of the module are derived from is no task of its own.
    bases = {base for each in own.values() if isclass(each) for base in each.__mro__[1:]}
    found = [each for each, value in own.items() if isinstance(value, Trainable) or value not in bases]
    if not found:
        raise UsageError(
            f"{module.__file__}: has no task: define a class with the base class adamtune.Task, or a function"
            " with @adamtune.trainable"
        )
    if len(found) > 1:
        names = " or ".join(f"{place}:{each}" for each in found)
        raise UsageError(f"{module.__file__}: has {len(found)} tasks: write {names}")
    return found[0], own[found[0]]


def _module_of(task: type[Task] | Trainable) -> str:
    return (task.function if isinstance(task, Trainable) else task).__module__


def _is_task(value: object) -> TypeGuard[type[Task] | Trainable]:
    return isinstance(value, Trainable) or (isclass(value) and issubclass(value, Task) and value is not Task)


def _tasks(module: ModuleType) -> Iterator[tuple[str, type[Task] | Trainable]]:
    for name, each in vars(module).items():
        if _is_task(each):
            yield name, each


def checked(entry: TaskEntry) -> TaskEntry:
    """The entry. Raises UsageError if its class lacks a method, or a default is illegal."""
    task = entry.settings
    if not (isclass(task) and issubclass(task, Task)):
        raise UsageError(f"{entry.name}: {task!r} is not a class with the base class adamtune.Task")
    missing = [name for name in METHODS if getattr(task, name) is getattr(Task, name)]
    if missing:
        raise UsageError(f"{line_of(task)}: {task.__name__} has no method {', '.join(missing)}")
    try:
        task.model_rebuild()
    except PydanticUndefinedAnnotation as error:
        raise UsageError(f"{line_of(task)}: the type {error.name} is not defined") from error
    for name, field in task.model_fields.items():
        if field.is_required():
            continue
        kind: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        try:
            # JSON, because the strict mode takes a list for a tuple there alone.
            TypeAdapter(kind).validate_json(to_json(field.get_default()), strict=True)
        except (ValidationError, PydanticSerializationError) as error:
            said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            raise UsageError(
                f"{line_of(task, name)}: the default of {name} is {field.get_default()!r}: {said}"
            ) from error
    wrong = {name: each for name, each in task.directions.items() if each not in get_args(Direction)}
    for name, each in wrong.items():
        raise UsageError(f"{line_of(task, 'directions')}: {name} is {each!r}: write 'minimize' or 'maximize'")
    return entry
