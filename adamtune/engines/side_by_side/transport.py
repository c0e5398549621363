"""How a task and its data get into another process: the task pickled, the data as a file in shared memory."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import torch

from adamtune.tasks.base import Rows, Task
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.source import load_file


@dataclass(frozen=True)
class PackedTask:
    """A ``LoadedTask`` without its data, for another process.

    Attributes:
        module: the name of the module that defines the class of the task.
        file: the file to load as that module; None if it is imported by its name.
        pickled: the task.
    """

    module: str
    file: Path | None
    pickled: bytes
    data_hash: str
    steps: int
    evaluate_every: int
    holdouts: Mapping[str, slice]
    loss_steps: int

    def unpack(self, train: Rows, validation: Rows, test: Rows | None) -> LoadedTask:
        """The task with its data."""
        sys.modules[self.module] = _load_once(self.file) if self.file else import_module(self.module)
        own: Task = pickle.loads(self.pickled)
        lengths = self.steps, self.evaluate_every, self.holdouts, self.loss_steps
        return LoadedTask(own, train, validation, test, self.data_hash, *lengths)


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
        name, pickled = type(task.task).__module__, pickle.dumps(task.task)
    except Exception as error:  # pickle raises what it likes
        raise ValueError(f"the task cannot be pickled: {error}") from error
    module = sys.modules[name]
    if name == "__main__" or module.__file__ is None:
        raise ValueError(f"the task is defined in {name}, which another process cannot import")
    # Modules of files, unlike imported ones, have no specification.
    file = None if module.__spec__ else Path(module.__file__)
    lengths = task.steps, task.evaluate_every, task.holdouts, task.loss_steps
    return PackedTask(name, file, pickled, task.data_hash, *lengths)


@contextmanager
def data_file(task: LoadedTask) -> Iterator[Path]:
    """A file with the task's data; a process that has loaded it keeps it when it is deleted."""
    with TemporaryDirectory(prefix="adamtune-") as folder:
        path = Path(folder) / "rows"
        torch.save((task.train, task.validation, task.test), path)
        yield path


def load_data(path: Path) -> tuple[Rows, Rows, Rows | None]:
    """The training, validation and test rows of a file, whose memory the processes that load it share."""
    rows: tuple[Rows, Rows, Rows | None] = torch.load(path, mmap=True, weights_only=False)
    return rows
