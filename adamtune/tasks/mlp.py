"""Regression with a multilayer perceptron. Torch-free to import."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from adamtune.tasks.base import (
    Count,
    Model,
    ReferenceTask,
    Rows,
    Settings,
    TaskEntry,
    Width,
    batches_per_epoch,
    training_rows,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

DIABETES_ROWS = 442
DIGITS_ROWS = 1797


def _regression_rows(dataset: str, samples: int | None) -> int:
    return DIABETES_ROWS if dataset == "diabetes" else samples or 1000


class MlpSettings(Settings):
    """A multilayer perceptron for regression."""

    DATA: ClassVar[frozenset[str]] = frozenset({"dataset", "samples"})

    dataset: Literal["diabetes", "friedman1"] = Field("diabetes", description="which data to learn")
    samples: Annotated[int, Field(ge=20, le=1_000_000)] | None = Field(
        None, description="rows of friedman1, 1000 when left out (diabetes always has its 442)"
    )
    hidden: tuple[Width, ...] = Field((64, 64), description="width of each hidden layer")
    batch_size: Count = Field(32, validate_default=True, description="rows of every batch")
    epochs: Count = Field(30, description="passes over the training rows")

    @property
    def rows(self) -> int:
        """Rows of the data set, validation included."""
        return _regression_rows(self.dataset, self.samples)

    @field_validator("samples")
    @classmethod
    def _samples_fit_dataset(cls, samples: int | None, info: ValidationInfo) -> int | None:
        if samples is not None and info.data.get("dataset") == "diabetes":
            raise ValueError(
                f"diabetes always has its {DIABETES_ROWS} rows, got samples {samples}: "
                "leave samples out, or use dataset friedman1"
            )
        return samples

    @field_validator("batch_size")
    @classmethod
    def _batch_fits(cls, batch_size: int, info: ValidationInfo) -> int:
        if {"dataset", "samples"} <= info.data.keys():
            rows = _regression_rows(info.data["dataset"], info.data["samples"])
            batches_per_epoch(training_rows(rows), batch_size)
        return batch_size

    @property
    def training_steps(self) -> int:
        """Optimizer steps of all epochs."""
        return self.epochs * batches_per_epoch(training_rows(self.rows), self.batch_size)

    def step_bytes(self) -> int:
        """The results of all layers and their gradients, and the parameters' gradients."""
        widths = (10, *self.hidden, 1)
        parameters = sum(low * high + high for low, high in pairwise(widths))
        return 4 * (parameters + 2 * self.batch_size * sum(self.hidden))


@dataclass(frozen=True, eq=False)
class Mlp(ReferenceTask):
    """Regression of rows ``(features [batch, features], target [batch])`` by a multilayer perceptron."""

    hidden: tuple[int, ...]

    def build(self) -> nn.Module:
        """``[..., features]`` to ``[..., 1]``, with ReLU after each hidden layer."""
        from torch import nn

        widths = (self.train[0].shape[1], *self.hidden)
        layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
        return nn.Sequential(*layers, nn.Linear(widths[-1], 1))

    def loss(self, model: Model, batch: Rows) -> Tensor:
        """The mean squared error of the standardised target."""
        from torch.nn.functional import mse_loss

        features, target = batch
        return mse_loss(model(features).squeeze(-1), target)

    def scores(self, model: Model, rows: Rows) -> dict[str, Tensor]:
        """The loss, and R2: the part of the target's variance over ``rows`` that the model explains."""
        error = self.loss(model, rows)
        return {"val_loss": error, "val_r2": 1 - error / rows[1].var(correction=0)}


def make(settings: MlpSettings) -> Mlp:
    """The task on its data set."""
    from adamtune.tasks.datasets import diabetes, friedman1

    data = diabetes() if settings.dataset == "diabetes" else friedman1(settings.rows)
    return Mlp(data, settings.batch_size, settings.training_steps, settings.hidden)


MLP = TaskEntry(
    "mlp",
    "regression with a multilayer perceptron: diabetes or friedman1",
    MlpSettings,
    {"val_loss": "minimize", "val_r2": "maximize", "train_loss": "minimize"},
    make,
)
