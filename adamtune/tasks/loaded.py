"""A task with its data in memory, as engines train it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from adamtune.recipe import USUAL, Recipe
from adamtune.tasks.base import Rows, Task, batches_per_epoch, evaluation_interval
from adamtune.tasks.conversion import memory
from adamtune.tasks.data import Data
from adamtune.tasks.pytree import count_rows, leaves
from adamtune.tasks.randomness import seeded
from adamtune.tasks.shared_layers import own_model


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
        recipe: how it is trained.
        holdouts: parts of the test rows by name, which are scored at the last step alone.
        loss_steps: the last steps whose mean loss is the last ``train_loss``; 0 for those since the
            evaluation before.
        origin: the task of which this is a copy with other rows to score; None if it is none.
    """

    task: Task
    train: Rows
    validation: Rows
    test: Rows | None
    data_hash: str
    steps: int
    evaluate_every: int
    recipe: Recipe
    holdouts: Mapping[str, slice] = field(default_factory=dict)
    loss_steps: int = 0
    origin: LoadedTask | None = None

    @property
    def batch_size(self) -> int:
        """Rows of every batch."""
        return self.task.batch_size

    def with_holdouts(self, holdouts: Mapping[str, slice]) -> LoadedTask:
        """The same training with one evaluation, at the last step, which scores parts of the test rows."""
        recent = (self.steps - 1) % self.evaluate_every + 1
        return replace(
            self, evaluate_every=self.steps, holdouts=holdouts, loss_steps=recent, origin=self.origin or self
        )

    def build(self) -> nn.Module:
        """A new model, whose weights are drawn from torch's global generator."""
        module: nn.Module = own_model(self, self.task.model)
        return module

    def loss(self, model: Any, batch: Rows) -> Tensor:
        """The training loss of a batch ``[batch, ...]``: a scalar, to be minimised."""
        with self._autocast(batch):
            return self.task.loss(model, batch)

    def scores(self, model: Any, rows: Rows) -> dict[str, Tensor]:
        """The task's metrics over ``rows``, except ``train_loss``: each a scalar."""
        with self._autocast(rows):
            return self._scores(model, rows)

    def _scores(self, model: Any, rows: Rows) -> dict[str, Tensor]:
        found = self.task.metrics(model, rows)
        if not isinstance(found, Mapping):
            raise TypeError(f"metrics() returned {type(found).__name__}: return a dict of numbers by name")
        loss = found["loss"] if "loss" in found else self.task.loss(model, rows)
        return {"val_loss": loss, **{f"val_{name}": each for name, each in found.items() if name != "loss"}}

    def _autocast(self, rows: Rows) -> AbstractContextManager[None]:
        if not self.recipe.autocast:
            return nullcontext()
        device = next(leaves(rows)).device.type
        return torch.autocast(device, getattr(torch, self.recipe.precision))


@dataclass(frozen=True, eq=False)
class LoadedData:
    """The rows of a task.

    Attributes:
        used: the settings that ``data`` read, with their values. Equal values give equal data.
    """

    data: Data
    hash: str
    used: Mapping[str, Any]


class Loader:
    """Loads tasks. Tasks whose ``data`` reads equal settings share their data.

    Args:
        recipe: how the tasks are trained.
    """

    def __init__(self, recipe: Recipe = USUAL) -> None:
        self._recipe = recipe
        self._data: list[LoadedData] = []

    @property
    def used(self) -> set[str]:
        """The names of the settings that ``data`` has read."""
        return {name for each in self._data for name in each.used}

    def load(self, task: Task) -> LoadedTask:
        """The task with its data.

        Raises:
            ValueError: the data are not as ``Data`` says, a batch is larger than the training data, or a step
                has more batches than all epochs.
        """
        found = self._load_data(task)
        data = found.data
        task.keep_data(data)
        batches = batches_per_epoch(count_rows(data.train), task.batch_size)
        steps = getattr(task, "steps", None) or task.epochs * batches // self._recipe.accumulate
        if not steps:
            raise ValueError(
                f"accumulate {self._recipe.accumulate} is more than the {task.epochs * batches} batches of"
                " the training: use fewer, or more epochs"
            )
        rows = data.train, data.validation, data.test
        return LoadedTask(task, *rows, found.hash, steps, evaluation_interval(steps), self._recipe)

    def _load_data(self, task: Task) -> LoadedData:
        for known in self._data:
            if all(getattr(task, name) == value for name, value in known.used.items()):
                return known
        # With seeds, data that draw from a global generator are the same when the study is resumed.
        with seeded(0), _recorded(task) as used:
            data = task.data()
        found = load_data(data, {name: getattr(task, name) for name in sorted(used)})
        # Equal data are kept once, whatever the settings that they were made with.
        same = (each.data for each in self._data if each.hash == found.hash)
        equal = next((each for each in same if each.categories == data.categories), data)
        found = LoadedData(equal, found.hash, found.used)
        self._data.append(found)
        return found


def load(task: Task, recipe: Recipe = USUAL) -> LoadedTask:
    """The task with its data; see ``Loader``."""
    return Loader(recipe).load(task)


def load_data(data: Data, used: Mapping[str, Any]) -> LoadedData:
    """The data of a task with their hash. Raises ValueError if they are no ``Data``."""
    if not isinstance(data, Data):
        raise ValueError(f"data() returned {type(data).__name__}: return Data(train=..., validation=...)")
    rows = [data.train, data.validation, *([] if data.test is None else [data.test])]
    digest = fingerprint(*chain.from_iterable(map(leaves, rows)))
    return LoadedData(data, digest, used)


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

    Recorded.source_file = kind.source_file
    object.__setattr__(task, "__class__", Recorded)
    try:
        yield used
    finally:
        object.__setattr__(task, "__class__", kind)


def fingerprint(*tensors: Tensor) -> str:
    """SHA-256 (hex) of the tensors' types, shapes and contents; rows that overlap in memory count once."""
    digest = sha256()
    for tensor in map(memory, tensors):
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
