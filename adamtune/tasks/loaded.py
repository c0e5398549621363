"""A task with its data in memory, as engines train it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adamtune.tasks.base import Rows, Task, batches_per_epoch, evaluation_interval
from adamtune.tasks.data import Data, row_count
from adamtune.tasks.pytree import count_rows, leaves


@dataclass(frozen=True, eq=False)
class LoadedTask:
    """Everything an engine needs to train one model.

    Attributes:
        task: the task with its settings.
        train: the training rows, a tree of tensors. They may be a view in which rows overlap: do not write to
            them.
        validation: the validation rows, likewise.
        test: the test rows, which a search never looks at; None if there are none.
        data_hash: SHA-256 (hex) of all rows.
        steps: optimizer steps of one full training.
        evaluate_every: optimizer steps between two evaluations; the last evaluation is always at ``steps``.
    """

    task: Task
    train: Rows
    validation: Rows
    test: Rows | None
    data_hash: str
    steps: int
    evaluate_every: int

    @property
    def batch_size(self) -> int:
        """Rows of every batch."""
        return self.task.batch_size

    def build(self) -> nn.Module:
        """A new model, whose weights are drawn from torch's global generator."""
        return self.task.model()

    def loss(self, model: Any, batch: Rows) -> Tensor:
        """The training loss of a batch ``[batch, ...]``: a scalar, to be minimised."""
        return self.task.loss(model, batch)

    def scores(self, model: Any, rows: Rows) -> dict[str, Tensor]:
        """The task's metrics over ``rows``, except ``train_loss``: each a scalar."""
        found = self.task.metrics(model, rows)
        loss = found["loss"] if "loss" in found else self.task.loss(model, rows)
        return {"val_loss": loss, **{f"val_{name}": each for name, each in found.items() if name != "loss"}}


@dataclass(frozen=True, eq=False)
class LoadedData:
    """The rows of a task as tensors.

    Attributes:
        used: the settings that ``data`` read, with their values. Equal values give equal data.
    """

    train: Rows
    validation: Rows
    test: Rows | None
    hash: str
    used: Mapping[str, Any]


class Loader:
    """Loads tasks. Tasks whose ``data`` reads equal settings share their data."""

    def __init__(self) -> None:
        self._data: list[LoadedData] = []

    def load(self, task: Task) -> LoadedTask:
        """The task with its data.

        Raises:
            ValueError: the data are not as ``Data`` says, or a batch is larger than the training data.
        """
        data = self._load_data(task)
        batches = batches_per_epoch(count_rows(data.train), task.batch_size)
        steps = getattr(task, "steps", None) or task.epochs * batches
        rows = data.train, data.validation, data.test
        return LoadedTask(task, *rows, data.hash, steps, evaluation_interval(steps))

    def _load_data(self, task: Task) -> LoadedData:
        for known in self._data:
            if all(getattr(task, name) == value for name, value in known.used.items()):
                return known
        with _recorded(task) as used:
            data = task.data()
        found = load_data(data, {name: getattr(task, name) for name in sorted(used)})
        # Equal data are kept once, whatever the settings that they were made with.
        equal = next((each for each in self._data if each.hash == found.hash), found)
        found = LoadedData(equal.train, equal.validation, equal.test, found.hash, found.used)
        self._data.append(found)
        return found


def load(task: Task) -> LoadedTask:
    """The task with its data; see ``Loader.load``."""
    return Loader().load(task)


def load_data(data: Data, used: Mapping[str, Any]) -> LoadedData:
    """The rows as tensors, checked.

    Raises:
        ValueError: a split has no rows, its arrays have different numbers of rows, or a number is not finite.
    """
    if not isinstance(data, Data):
        raise ValueError(f"data() returned {type(data).__name__}: return Data(train=..., validation=...)")
    names = ("train", "validation", "test")[: 2 if data.test is None else 3]
    for name in names:
        row_count(getattr(data, name), name)
    rows = [_tensors(getattr(data, name), name) for name in names]
    digest = fingerprint(*chain.from_iterable(map(leaves, rows)))
    return LoadedData(rows[0], rows[1], rows[2] if len(rows) == 3 else None, digest, used)


@contextmanager
def _recorded(task: Task) -> Iterator[set[str]]:
    """While it is entered, the names of the settings that are read are added to the set."""
    used: set[str] = set()
    kind, fields = type(task), type(task).model_fields.keys()

    class Recorded(kind):  # type: ignore[misc, valid-type]
        def __getattribute__(self, name: str) -> Any:
            if name in fields:
                used.add(name)
            elif name == "__dict__" or name.startswith(("model_", "__pydantic")):
                used.update(fields)  # such as model_dump, or the hash of a cached function's argument
            return super().__getattribute__(name)

    Recorded.__module__ = kind.__module__
    object.__setattr__(task, "__class__", Recorded)
    try:
        yield used
    finally:
        object.__setattr__(task, "__class__", kind)


def _tensors(rows: Any, place: str) -> Any:
    """The tree with tensors in place of arrays; ``place`` names it in messages, such as ``train[0]``."""
    if isinstance(rows, dict):
        return {name: _tensors(each, f"{place}[{name!r}]") for name, each in rows.items()}
    if isinstance(rows, tuple | list):
        found = [_tensors(each, f"{place}[{index}]") for index, each in enumerate(rows)]
        return type(rows)(*found) if hasattr(rows, "_fields") else type(rows)(found)
    return _finite(_tensor(rows, place), place)


def _tensor(array: Any, place: str) -> Tensor:
    if isinstance(array, Tensor):
        tensor = array.detach().cpu()
        return tensor.float() if tensor.dtype == torch.float64 else tensor
    kinds = {"f": np.float32, "i": np.int64, "u": np.int64, "b": np.bool_, "c": np.complex64}
    if not isinstance(array, np.ndarray):
        raise ValueError(
            f"{place} is of type {type(array).__name__}: give a tensor, an array or a data frame"
        )
    if array.dtype.kind not in kinds:
        raise ValueError(
            f"{place} has the type {array.dtype}: give numbers, or a pandas data frame with categories"
        )
    with warnings.catch_warnings(), np.errstate(over="ignore"):
        # A memory-mapped file may be open for reading alone; nobody writes to the tensor.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(array, kinds[array.dtype.kind]))


def _finite(tensor: Tensor, place: str) -> Tensor:
    """The tensor. Raises ValueError if one of its numbers is NaN or infinite."""
    if tensor.is_floating_point() or tensor.is_complex():
        wrong = ~torch.isfinite(memory(tensor))
        if wrong.any():
            row = [int(each) for each in (~torch.isfinite(tensor)).nonzero()[0]]
            value = tensor[tuple(row)].item()
            raise ValueError(
                f"{place} has {int(wrong.sum())} values that are NaN, infinite or beyond float32, the first"
                f" ({value}) at {row}: fill them, or drop those rows"
            )
    return tensor


def memory(tensor: Tensor) -> Tensor:
    """The memory that a view with overlapping rows shows, such as ``unfold``'s; any other tensor itself."""
    extent = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    if extent < tensor.numel() and all(tensor.stride()):
        return tensor.as_strided((extent,), (1,))
    return tensor


def fingerprint(*tensors: Tensor) -> str:
    """SHA-256 (hex) of the tensors' types, shapes and contents; rows that overlap in memory count once."""
    digest = sha256()
    for tensor in map(memory, tensors):
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
