"""Finds tasks: the reference tasks by name, and those of users' files and packages. Torch-free to import."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib.metadata import entry_points
from inspect import getfile, isclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, get_args

from pydantic import PydanticUndefinedAnnotation, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from adamtune.errors import UsageError
from adamtune.tasks.base import METHODS, Direction, Task
from adamtune.tasks.cnn import Cnn
from adamtune.tasks.entry import TaskEntry
from adamtune.tasks.mlp import Mlp
from adamtune.tasks.source import line_of, load_file, load_module, user_errors
from adamtune.tasks.transformer import Transformer

TASKS: Mapping[str, TaskEntry] = {
    name: TaskEntry(name, each) for name, each in (("mlp", Mlp), ("cnn", Cnn), ("transformer", Transformer))
}
"""The reference tasks by name."""

GROUP = "adamtune.tasks"
"""The entry-point group under which a package offers tasks."""

FORMS = "a file such as churn.py, a module such as package.module"
"""The other names of tasks, for messages."""


def find_task(name: str, folder: Path | None = None) -> TaskEntry | None:
    """The task that a study file names.

    Args:
        name: a reference task, a file, ``FILE:CLASS``, a module, ``MODULE:CLASS``, or an entry point of
            ``GROUP``.
        folder: a relative file is relative to it, or to the current folder.

    Returns:
        The task, whose own name has an absolute path; None if the name is none of these.

    Raises:
        UsageError: the file or module is wrong; the message names its file and line.
    """
    if name in TASKS:
        return TASKS[name]
    place, class_name = re.fullmatch(r"(.*?)(?::(\w+))?", name, re.DOTALL).groups("")  # type: ignore[union-attr]
    if place.endswith(".py"):
        path = _existing((folder or Path()).resolve() / Path(place).expanduser())
        task = _choose(load_file(path), class_name, place)
        return _checked(TaskEntry(f"{path}:{class_name}" if class_name else str(path), task, path))
    for each in entry_points(group=GROUP, name=name):
        with user_errors(f"the entry point {name} of {GROUP}"):
            task = each.load()
        return _checked(TaskEntry(name, task, _file_of(task)))
    if "." in place.strip(".") or class_name:
        module = load_module(place)
        return _checked(TaskEntry(name, _choose(module, class_name, place), _file_of(module)))
    return None


def _file_of(module: object) -> Path | None:
    try:
        return Path(getfile(module))  # type: ignore[arg-type]
    except TypeError:  # such as a package without __init__.py
        return None


def _existing(path: Path) -> Path:
    """The path of a file, without ``..`` and links. Raises UsageError if there is no such file."""
    if not path.is_file():
        near = get_close_matches(path.name, [each.name for each in path.parent.glob("*.py")], n=1)
        raise UsageError(f"{path}: no such file" + (f"; did you mean {near[0]}?" if near else ""))
    return path.resolve()


def _choose(module: ModuleType, class_name: str, place: str) -> type[Task]:
    """The task of a module: the one of a name, or the only one that the module defines."""
    own = {each.__name__: each for each in _tasks(module) if each.__module__ == module.__name__}
    if class_name:
        named = getattr(module, class_name, None)
        if isclass(named) and issubclass(named, Task):
            return named
        raise UsageError(
            f"{module.__file__}: has no task {class_name}; its tasks: {', '.join(own) or 'none'}"
        )
    # A class that others of the module are derived from is no task of its own.
    found = [
        name for name, each in own.items() if not any(each in other.__mro__[1:] for other in own.values())
    ]
    if not found:
        raise UsageError(f"{module.__file__}: has no task: define a class with the base class adamtune.Task")
    if len(found) > 1:
        names = " or ".join(f"{place}:{name}" for name in found)
        raise UsageError(f"{module.__file__}: has {len(found)} tasks: write {names}")
    return own[found[0]]


def _tasks(module: ModuleType) -> Iterator[type[Task]]:
    for each in vars(module).values():
        if isclass(each) and issubclass(each, Task) and each is not Task:
            yield each


def _checked(entry: TaskEntry) -> TaskEntry:
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
