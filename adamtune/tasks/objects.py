"""Tasks that are given as Python objects: what a study calls them, and the hash of their code. Torch-free."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from inspect import isclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from typing_extensions import override

from adamtune.errors import UsageError
from adamtune.function import Trainable
from adamtune.tasks.base import Task
from adamtune.tasks.entry import TaskEntry
from adamtune.tasks.object_hash import object_hash
from adamtune.tasks.program import ProgramEntry
from adamtune.tasks.registry import OBJECT, TASKS, checked, find_task


@dataclass(frozen=True)
class ObjectEntry(TaskEntry):
    """A class that no name leads to, because a notebook, a program or a function defines it."""

    @property
    @override
    def code_hash(self) -> str | None:
        """SHA-256 (hex) of the code of the class; None where its source is not known."""
        return object_hash(self.settings)

    @property
    @override
    def is_own(self) -> bool:
        return True


class GivenTask(NamedTuple):
    """A task that was given as a Python object.

    Attributes:
        entry: the task.
        settings: the settings that the object was made with; none of a class.
    """

    entry: TaskEntry | ProgramEntry
    settings: Mapping[str, Any]

    @property
    def object(self) -> ObjectEntry | None:
        """The entry, if its name does not lead to it."""
        return self.entry if isinstance(self.entry, ObjectEntry) else None


def given_task(task: object) -> GivenTask:
    """The task that a Python object is.

    A class or function of a file or of a package gets the name that a study file would have for it: it is the
    same study. The file is loaded anew, so that what is trained is what it says now.

    Args:
        task: a class with the base class ``Task``, an object of one, or a function with ``trainable``.

    Raises:
        UsageError: it is none of these, lacks a method, or is a function that other processes cannot import.
    """
    kind = type(task) if isinstance(task, Task) else task
    settings = task.model_dump(mode="json", exclude_unset=True) if isinstance(task, Task) else {}
    if not isinstance(kind, Trainable) and not (isclass(kind) and issubclass(kind, Task)):
        raise UsageError(
            f"task is {task!r}: give a class with the base class adamtune.Task, an object of one, or a"
            " function with @adamtune.trainable"
        )
    return GivenTask(_entry(kind), settings)


def _entry(task: type[Task] | Trainable) -> TaskEntry | ProgramEntry:
    for known in TASKS.values():
        if known.settings is task:
            return known
    own = task.function if isinstance(task, Trainable) else task
    name, module = own.__name__, sys.modules.get(own.__module__)
    if module is not None and module.__name__ != OBJECT and getattr(module, name, None) is task:
        found = find_task(f"{_place(module)}:{name}")
        assert found is not None
        return found
    if isinstance(task, Trainable):
        raise UsageError(
            f"the function {name} is trained in processes of its own, which cannot import it from here: write"
            f" it to a file, such as train.py, and give task: train.py:{name} (or import it from there)"
        )
    return checked(ObjectEntry(f"{OBJECT}:{name}", task))


def _place(module: ModuleType) -> str:
    """A file, or the name of a module that is part of a package."""
    is_part = getattr(module, "__package__", None)
    return module.__name__ if is_part or not module.__file__ else str(Path(module.__file__).resolve())
