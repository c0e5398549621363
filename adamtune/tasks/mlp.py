"""Regression or classification with a multilayer perceptron. Torch-free to import."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from adamtune.tasks.base import Count, Direction, Width, batches_per_epoch, training_rows
from adamtune.tasks.own_data import OwnData

if TYPE_CHECKING:
    from torch import Tensor, nn

    from adamtune.tasks.data import Data

DIABETES_ROWS = 442
FEATURES = 10
"""Features of each built-in data set."""
Kind = Literal["auto", "regression", "classification"]

SAMPLES = 10_000
"""Rows of friedman1 by default. With 1,000, luck decides which settings look best (docs/performance.md)."""


class Mlp(OwnData):
    """Regression or classification with a multilayer perceptron: friedman1, diabetes, or your own table."""

    data_settings = ("data", "dataset", "samples", "target", "kind")
    directions = {"r2": "maximize", "accuracy": "maximize"}

    dataset: Literal["friedman1", "diabetes"] = Field("friedman1", description="which data to learn")
    samples: Annotated[int, Field(ge=20, le=1_000_000)] | None = Field(
        SAMPLES, description="rows of friedman1 (diabetes always has its 442)"
    )
    target: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="the column of data that is predicted (of an .npz file the array, y by default)"
    )
    kind: Kind = Field("auto", description="what the target is; auto goes by its type")
    hidden: tuple[Width, ...] = Field((64, 64), description="width of each hidden layer")
    batch_size: Count = Field(32, validate_default=True)
    epochs: Count = 5

    def model_post_init(self, context: Any) -> None:
        """Sets the samples of data that have none to None."""
        if self.dataset == "diabetes" and self.samples is not None:
            object.__setattr__(self, "samples", None)

    def data(self) -> Data:
        """Rows ``(features [rows, features], target [rows])``; an int64 target is the number of a class."""
        from adamtune.tasks.datasets import diabetes, friedman1
        from adamtune.tasks.tables import read_table

        if file := self.existing_file():
            return read_table(file, self.target, self.kind)
        return diabetes() if self.dataset == "diabetes" else friedman1(_rows(self.dataset, self.samples))

    def model(self) -> nn.Module:
        """``[batch, features]`` to ``[batch, 1 or classes]``, with ReLU after each hidden layer."""
        from torch import nn

        features, target = self.loaded_data.train
        outputs = 1 if target.is_floating_point() else int(target.max()) + 1
        widths = (features.shape[1], *self.hidden)
        layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
        return nn.Sequential(*layers, nn.Linear(widths[-1], outputs))

    def loss(self, model: Any, batch: Any) -> Tensor:
        """The mean squared error of the standardised target, or the mean cross-entropy of classes in nats."""
        features, target = batch
        return _loss(model(features), target)

    def metrics(self, model: Any, batch: Any) -> Mapping[str, Tensor]:
        """The loss; and R2, the part of the target's variance over the rows that the model explains, or the
        accuracy, the part of the rows whose class the model predicts.
        """
        features, target = batch
        outputs = model(features)
        loss = _loss(outputs, target)
        if target.is_floating_point():
            return {"loss": loss, "r2": 1 - loss / target.var(correction=0)}
        return {"loss": loss, "accuracy": (outputs.argmax(-1) == target).to(outputs.dtype).mean()}

    def metric_directions(self) -> Mapping[str, Direction]:
        """R2 of regression, the accuracy of classification; both where the target of a file decides."""
        kind = "regression" if self.file is None else self.kind
        left_out = {"regression": "accuracy", "classification": "r2"}.get(kind)
        return {name: each for name, each in self.directions.items() if name != left_out}

    @field_validator("samples")
    @classmethod
    def _samples_fit_dataset(cls, samples: int | None, info: ValidationInfo) -> int | None:
        if info.data.get("dataset") == "diabetes" and samples is not None:
            raise ValueError(
                f"diabetes always has its {DIABETES_ROWS} rows, got samples {samples}: "
                "leave samples out, or use dataset friedman1"
            )
        return samples

    @field_validator("target", "kind")
    @classmethod
    def _is_of_a_file(cls, value: Any, info: ValidationInfo) -> Any:
        if info.data.get("file", True) is None and value not in (None, "auto"):
            raise ValueError(f"found without task.data, the file that has the {info.field_name}")
        return value

    @field_validator("batch_size")
    @classmethod
    def _batch_fits(cls, batch_size: int, info: ValidationInfo) -> int:
        if {"file", "dataset", "samples"} <= info.data.keys() and info.data["file"] is None:
            rows = _rows(info.data["dataset"], info.data["samples"])
            batches_per_epoch(training_rows(rows), batch_size)
        return batch_size

    @property
    def training_steps(self) -> int | None:
        """Optimizer steps of all epochs; None of a file."""
        if self.file is not None:
            return None
        return self.epochs * batches_per_epoch(
            training_rows(_rows(self.dataset, self.samples)), self.batch_size
        )

    def step_bytes(self) -> int | None:
        """The results of all layers and their gradients, and the parameters' gradients; None of a file."""
        if self.file is not None:
            return None
        widths = (FEATURES, *self.hidden, 1)
        parameters = sum(low * high + high for low, high in pairwise(widths))
        return 4 * (parameters + 2 * self.batch_size * sum(self.hidden))


def _rows(dataset: str, samples: int | None) -> int:
    """Rows of a built-in data set."""
    # Studies of version 0.1.0 store None for 1,000 rows of friedman1.
    return DIABETES_ROWS if dataset == "diabetes" else samples or 1000


def _loss(outputs: Tensor, target: Tensor) -> Tensor:
    from torch.nn.functional import cross_entropy, mse_loss

    if target.is_floating_point():
        return mse_loss(outputs.squeeze(-1), target)
    return cross_entropy(outputs, target)
