"""The interface of tasks, and what the reference tasks have in common. Torch-free to import."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from torch import Tensor, nn

    from adamtune.tasks.datasets import Split

Rows = Any
"""A tensor, or nested tuples, lists and dicts of them, ``[rows, ...]`` with equally many rows: row i of each
belongs to example i."""

Model = Callable[..., Any]
"""An ``nn.Module``."""

Direction = Literal["minimize", "maximize"]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Width = Annotated[int, Field(ge=1, le=8192)]


class Task(Protocol):
    """Everything an engine needs to train one model; immutable once built.

    ``loss`` and ``scores`` are pure torch functions of their arguments without data-dependent
    control flow, so that an engine may run them under ``torch.func.vmap``.
    """

    @property
    def steps(self) -> int:
        """Optimizer steps of one full training."""

    @property
    def evaluate_every(self) -> int:
        """Optimizer steps between two evaluations; the last evaluation is always at ``steps``."""

    @property
    def batch_size(self) -> int:
        """Rows of every batch."""

    @property
    def train(self) -> Rows:
        """The training rows. They may be a view in which rows overlap: do not write to them."""

    @property
    def validation(self) -> Rows:
        """The validation rows."""

    @property
    def data_hash(self) -> str:
        """SHA-256 (hex) of the training and validation rows."""

    def build(self) -> nn.Module:
        """A new model, whose weights are drawn from torch's global generator."""

    def loss(self, model: Model, batch: Rows) -> Tensor:
        """The training loss of a batch ``[batch, ...]``: a scalar, to be minimised."""

    def scores(self, model: Model, rows: Rows) -> Mapping[str, Tensor]:
        """The task's metrics over ``rows``, except ``train_loss``: each a scalar."""


class Settings(BaseModel):
    """The base of every task's settings: they cannot be changed, and an unknown one is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    DATA: ClassVar[frozenset[str]] = frozenset({"dataset"})
    """The settings that choose the data. They cannot be searched: values on different data do not compare."""

    @property
    def training_steps(self) -> int:
        """Optimizer steps of one full training, known without the data."""
        raise NotImplementedError

    def step_bytes(self) -> int:
        """The approximate working set in bytes of one training's step: results and gradients, in float32.

        It is known without torch, and within a quarter of the one that the population engine measures.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class TaskEntry:
    """A task of the registry.

    Attributes:
        settings: the class of its settings.
        name: the task's name in a study file.
        summary: one line for people.
        metrics: each metric's name and whether less or more of it is better; the first is the default
            objective.
        make: takes settings, loads the data and returns the task (imports torch).
    """

    name: str
    summary: str
    settings: type[Settings]
    metrics: Mapping[str, Direction]
    make: Callable[[Any], Task]

    def build(self, settings: Mapping[str, Any]) -> Task:
        """Loads the data and builds the task (imports torch).

        Raises:
            pydantic.ValidationError: a setting is unknown or out of its range.
            ValueError: the settings do not fit together or do not fit the data.
        """
        return self.make(self.settings.model_validate(settings))


EVALUATIONS = 10
"""Evaluations in one training: one after each tenth of its steps."""


def training_rows(rows: int) -> int:
    """The number of training rows among ``rows``: four fifths; the others are for validation."""
    return rows * 4 // 5


def batches_per_epoch(rows: int, batch_size: int) -> int:
    """The number of full batches in one pass over ``rows``.

    Rows that do not fill a batch are left out of that pass; each pass has another order. So every batch has
    the same shape, without which members could not be trained in lockstep.

    Raises:
        ValueError: there are fewer rows than a batch has.
    """
    if batch_size > rows:
        raise ValueError(f"batch_size {batch_size} is more than the {rows} training rows: use at most {rows}")
    return rows // batch_size


def evaluation_interval(steps: int) -> int:
    """Steps between two evaluations of a training of ``steps`` steps: at most ``EVALUATIONS`` evaluations."""
    return ceil(steps / EVALUATIONS)


@dataclass(frozen=True, eq=False)
class ReferenceTask:
    """The base of the reference tasks: data, batch size and steps. Each adds its model, loss and scores."""

    data: Split
    batch_size: int
    steps: int

    @property
    def train(self) -> Rows:
        """The training rows."""
        return self.data.train

    @property
    def validation(self) -> Rows:
        """The validation rows."""
        return self.data.validation

    @property
    def data_hash(self) -> str:
        """SHA-256 (hex) of the training and validation rows."""
        return self.data.hash

    @property
    def evaluate_every(self) -> int:
        """A tenth of the steps."""
        return evaluation_interval(self.steps)
