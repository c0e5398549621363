"""Regression with a multilayer perceptron. Torch-free to import."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from adamtune.tasks.base import Count, Task, Width, batches_per_epoch, training_rows

if TYPE_CHECKING:
    from torch import Tensor, nn

    from adamtune.tasks.data import Data

DIABETES_ROWS = 442
FEATURES = 10
"""Features of each data set."""


SAMPLES = 10_000
"""Rows of friedman1 by default. With 1,000, luck decides which settings look best (docs/performance.md)."""


def _regression_rows(dataset: str, samples: int | None) -> int:
    # Studies of version 0.1.0 store None for 1,000 rows of friedman1.
    return DIABETES_ROWS if dataset == "diabetes" else samples or 1000


class Mlp(Task):
    """Regression with a multilayer perceptron: friedman1 or diabetes."""

    data_settings = ("dataset", "samples")
    directions = {"r2": "maximize"}

    dataset: Literal["friedman1", "diabetes"] = Field("friedman1", description="which data to learn")
    samples: Annotated[int, Field(ge=20, le=1_000_000)] | None = Field(
        SAMPLES, validate_default=True, description="rows of friedman1 (diabetes always has its 442)"
    )
    hidden: tuple[Width, ...] = Field((64, 64), description="width of each hidden layer")
    batch_size: Count = Field(32, validate_default=True)
    epochs: Count = 5

    def data(self) -> Data:
        """Rows ``(features [rows, 10], target [rows])``."""
        from adamtune.tasks.datasets import diabetes, friedman1

        return diabetes() if self.dataset == "diabetes" else friedman1(self.rows)

    def model(self) -> nn.Module:
        """``[batch, features]`` to ``[batch, 1]``, with ReLU after each hidden layer."""
        from torch import nn

        widths = (FEATURES, *self.hidden)
        layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
        return nn.Sequential(*layers, nn.Linear(widths[-1], 1))

    def loss(self, model: Any, batch: Any) -> Tensor:
        """The mean squared error of the standardised target."""
        from torch.nn.functional import mse_loss

        features, target = batch
        return mse_loss(model(features).squeeze(-1), target)

    def metrics(self, model: Any, batch: Any) -> Mapping[str, Tensor]:
        """The loss, and R2: the part of the target's variance over the rows that the model explains."""
        error = self.loss(model, batch)
        return {"loss": error, "r2": 1 - error / batch[1].var(correction=0)}

    @property
    def rows(self) -> int:
        """Rows of the data set, validation included."""
        return _regression_rows(self.dataset, self.samples)

    @field_validator("samples")
    @classmethod
    def _samples_fit_dataset(cls, samples: int | None, info: ValidationInfo) -> int | None:
        if info.data.get("dataset") != "diabetes":
            return samples
        if samples not in (None, SAMPLES):
            raise ValueError(
                f"diabetes always has its {DIABETES_ROWS} rows, got samples {samples}: "
                "leave samples out, or use dataset friedman1"
            )
        return None  # the default is friedman1's

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
        widths = (FEATURES, *self.hidden, 1)
        parameters = sum(low * high + high for low, high in pairwise(widths))
        return 4 * (parameters + 2 * self.batch_size * sum(self.hidden))
