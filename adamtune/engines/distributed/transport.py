"""How tasks, data and states get into another process: tasks pickled, tensors in files that it maps."""

from __future__ import annotations

import io
import pickle
import sys
from copy import copy
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from adamtune.tasks.base import Rows, Task
from adamtune.tasks.data import Data
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.source import load_file


@dataclass(frozen=True)
class PackedTask:
    """A ``LoadedTask`` without its data, for another process.

    Attributes:
        module: the name of the module that defines the class of the task.
        file: the file to load as that module; None if it is imported by its name.
        pickled: the task.
        rest: the loaded task without the task and its rows.
    """

    module: str
    file: Path | None
    pickled: bytes
    rest: LoadedTask

    def unpack(self, train: Rows, validation: Rows, test: Rows | None) -> LoadedTask:
        """The task with its data."""
        sys.modules[self.module] = _load_once(self.file) if self.file else import_module(self.module)
        own: Task = pickle.loads(self.pickled)
        own.keep_data(_with_rows(own.loaded_data, train, validation, test))
        return replace(self.rest, task=own, train=train, validation=validation, test=test)

    @property
    def data_hash(self) -> str:
        """SHA-256 (hex) of the rows."""
        return self.rest.data_hash


def _with_rows(data: Data, train: Rows, validation: Rows, test: Rows | None) -> Data:
    """A copy of the data with other rows; what else they have is kept."""
    changed = copy(data)
    for name, rows in (("train", train), ("validation", validation), ("test", test)):
        object.__setattr__(changed, name, rows)  # they are frozen
    return changed


@cache
def _load_once(file: Path) -> ModuleType:
    """The module of a file as it was when it was needed first: a search trains what it began with."""
    return load_file(file)


def pack(task: LoadedTask) -> PackedTask:
    """The task for another process.

    Raises:
        ValueError: another process cannot have it.
    """
    try:
        own = task.task.model_copy()
        own.keep_data(_with_rows(own.loaded_data, None, None, None))
        name, pickled = type(own).__module__, pickle.dumps(own)
    except Exception as error:  # pickle raises what it likes
        raise ValueError(f"the task cannot be pickled: {error}") from error
    module = sys.modules[name]
    if name == "__main__" or module.__file__ is None:
        raise ValueError(f"the task is defined in {name}, which another process cannot import")
    # Modules of files, unlike imported ones, have no specification.
    file = None if module.__spec__ else Path(module.__file__)
    nothing: Any = None
    rest = replace(task, task=nothing, train=nothing, validation=nothing, test=None, origin=None)
    return PackedTask(name, file, pickled, rest)


def save(value: object, path: Path) -> None:
    """Writes tensors, and what contains them, to a file for another process."""
    torch.save(value, path)


def load(path: Path) -> Any:
    """What a file contains; the processes that load it share its memory until they write to it."""
    return torch.load(path, mmap=True, weights_only=False)


def packed(state: Any) -> bytes:
    """A state as bytes."""
    out = io.BytesIO()
    torch.save(state, out)
    return out.getvalue()


def unpacked(state: bytes) -> Any:
    """The state that ``packed`` got."""
    return torch.load(io.BytesIO(state), weights_only=True)
