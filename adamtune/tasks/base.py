"""What a task is, its settings, and what the reference tasks share. Torch-free to import."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from torch import Tensor, nn

    from adamtune.tasks.datasets import Split

Rows = tuple["Tensor", ...]
"""Tensors that share their first dimension: one row an example."""

Model = Callable[..., "Tensor"]
"""A model as a function of its input: an ``nn.Module``, or one with its parameters put in."""

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
        """The rows to train on; they may be an overlapping view, so gather from them, never write."""

    @property
    def validation(self) -> Rows:
        """The rows to judge by."""

    @property
    def data_hash(self) -> str:
        """SHA-256 (hex) of the data as it is trained on, splits included."""

    def build(self) -> nn.Module:
        """A new model, its weights drawn from torch's global generator."""

    def loss(self, model: Model, batch: Rows) -> Tensor:
        """The training loss of a batch ``[batch, ...]``: a scalar, to be minimised."""

    def scores(self, model: Model, rows: Rows) -> Mapping[str, Tensor]:
        """The task's metrics over ``rows`` (all but ``train_loss``), each a scalar."""


class Settings(BaseModel):
    """What every task's settings share: they are frozen, and an unknown one is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    DATA: ClassVar[frozenset[str]] = frozenset({"dataset"})
    """The settings that choose the data. They cannot be searched: values on different data do not compare."""

    @property
    def training_steps(self) -> int:
        """Optimizer steps of one full training, known without the data."""
        raise NotImplementedError

    def step_bytes(self) -> int:
        """About how many bytes one training's step works in, in float32: results and gradients.

        Known without torch, and within a quarter of what the population engine lays out.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class TaskEntry:
    """A task of the registry.

    Attributes:
        settings: the class of its settings.
        metrics: each metric's name and its good direction; the first is the default objective.
        make: loads the data and makes the task of some settings (imports torch).
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
    """How many of ``rows`` are trained on: four fifths, the rest being for validation."""
    return rows * 4 // 5


def batches_per_epoch(rows: int, batch_size: int) -> int:
    """The full batches in one pass over ``rows``.

    The rows left over are not trained on in that pass (the next one is shuffled anew): every batch of
    every member then has the same shape, which is what lets members be trained together.

    Raises:
        ValueError: not even one batch can be filled.
    """
    if batch_size > rows:
        raise ValueError(f"batch_size {batch_size} is more than the {rows} training rows: use at most {rows}")
    return rows // batch_size


def evaluation_interval(steps: int) -> int:
    """Steps between two evaluations, so that a training has at most ``EVALUATIONS`` of them."""
    return ceil(steps / EVALUATIONS)


@dataclass(frozen=True, eq=False)
class ReferenceTask:
    """A data set with a budget; a task adds the model, the loss and the scores to it."""

    data: Split
    batch_size: int
    steps: int

    @property
    def train(self) -> Rows:
        """The rows to train on."""
        return self.data.train

    @property
    def validation(self) -> Rows:
        """The rows to judge by."""
        return self.data.validation

    @property
    def data_hash(self) -> str:
        """SHA-256 (hex) of both."""
        return self.data.hash

    @property
    def evaluate_every(self) -> int:
        """A tenth of the steps."""
        return evaluation_interval(self.steps)
