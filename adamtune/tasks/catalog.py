"""The tasks there are, with their settings and metrics; torch-free, so that study files check fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from adamtune.tasks.rows import batches_per_epoch, training_rows

if TYPE_CHECKING:
    from adamtune.tasks.protocol import Task

Direction = Literal["minimize", "maximize"]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Width = Annotated[int, Field(ge=1, le=8192)]


class Settings(BaseModel):
    """What every task's settings share: they are frozen, and an unknown one is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def step_bytes(self) -> int:
        """About how many bytes one training's step works in, in float32: results and gradients.

        Known without torch, and within a quarter of what the population engine lays out.
        """
        raise NotImplementedError


DIABETES_ROWS = 442
DIGITS_ROWS = 1797


def _regression_rows(dataset: str, samples: int | None) -> int:
    return DIABETES_ROWS if dataset == "diabetes" else samples or 1000


class MlpSettings(Settings):
    """A multilayer perceptron for regression."""

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

    def step_bytes(self) -> int:
        """Each layer's result, the gradients of these, and the parameters' gradients."""
        widths = (10, *self.hidden, 1)
        parameters = sum(low * high + high for low, high in pairwise(widths))
        return 4 * (parameters + 2 * self.batch_size * sum(self.hidden))


class CnnSettings(Settings):
    """A small convolutional network: per channel count a 3x3 convolution, ReLU and 2x2 max-pooling."""

    dataset: Literal["digits"] = Field("digits", description="which data to learn")
    channels: Annotated[tuple[Width, ...], Field(min_length=1, max_length=3)] = Field(
        (16, 32), description="channels of each convolution; images of 8x8 allow three"
    )
    hidden: Width = Field(64, description="width of the hidden layer")
    batch_size: Count = Field(64, description="rows of every batch")
    epochs: Count = Field(10, description="passes over the training rows")

    @field_validator("batch_size")
    @classmethod
    def _batch_fits(cls, batch_size: int) -> int:
        batches_per_epoch(training_rows(DIGITS_ROWS), batch_size)
        return batch_size

    def step_bytes(self) -> int:
        """Nearly three times each convolution's result, kernels and their gradients, and room for patches."""
        numbers, inner, size = 2**15, 1, 8
        for channels in self.channels:
            numbers += 11 * self.batch_size * size**2 * channels // 4 + 27 * inner * channels
            inner, size = channels, size // 2
        return 4 * (numbers + inner * size**2 * self.hidden)


class TransformerSettings(Settings):
    """A causal, pre-norm Transformer that predicts the next character."""

    dataset: Literal["python-reference"] = Field("python-reference", description="which text to learn")
    d_model: Width = Field(32, description="width of the residual stream, a multiple of heads")
    layers: Annotated[int, Field(ge=1, le=48)] = Field(2, description="blocks of attention and feedforward")
    heads: Annotated[int, Field(ge=1, le=64)] = Field(
        2, validate_default=True, description="attention heads of each layer"
    )
    context: Annotated[int, Field(ge=2, le=1024)] = Field(32, description="characters seen at once")
    batch_size: Count = Field(32, description="stretches of text in every batch")
    steps: Count = Field(300, description="optimizer steps of one training")

    @field_validator("heads")
    @classmethod
    def _heads_divide_width(cls, heads: int, info: ValidationInfo) -> int:
        width = info.data.get("d_model", heads)
        if width % heads:
            divisors = ", ".join(str(each) for each in range(1, min(width, 64) + 1) if width % each == 0)
            raise ValueError(
                f"{heads} heads do not divide d_model {width}: use heads {divisors}, "
                f"or d_model {(width // heads + 1) * heads}"
            )
        return heads

    def step_bytes(self) -> int:
        """Seventeen results of a block's width, three of attention's, three of the logits', and gradients."""
        characters, tokens = 104, self.batch_size * self.context
        block = 17 * tokens * self.d_model + 3 * tokens * self.heads * self.context + 12 * self.d_model**2
        return 4 * (self.layers * block + 2 * characters * (tokens + self.d_model))


@dataclass(frozen=True)
class TaskEntry:
    """A row of the catalog. ``metrics`` maps each metric's name to its good direction."""

    name: str
    summary: str
    settings: type[Settings]
    metrics: Mapping[str, Direction]

    def build(self, settings: Mapping[str, Any]) -> Task:
        """Loads the data and builds the task (imports torch).

        Raises:
            pydantic.ValidationError: a setting is unknown or out of its range.
            ValueError: the settings do not fit together or do not fit the data.
        """
        module = import_module(f"adamtune.tasks.{self.name}")
        task: Task = module.build(self.settings.model_validate(settings))
        return task


TASKS: Mapping[str, TaskEntry] = {
    entry.name: entry
    for entry in (
        TaskEntry(
            "mlp",
            "regression with a multilayer perceptron: diabetes or friedman1",
            MlpSettings,
            {"val_loss": "minimize", "val_r2": "maximize", "train_loss": "minimize"},
        ),
        TaskEntry(
            "cnn",
            "image classification with a small convolutional network: handwritten digits",
            CnnSettings,
            {"val_loss": "minimize", "val_accuracy": "maximize", "train_loss": "minimize"},
        ),
        TaskEntry(
            "transformer",
            "next-character prediction with a small Transformer: the Python language reference",
            TransformerSettings,
            {"val_loss": "minimize", "val_bpc": "minimize", "train_loss": "minimize"},
        ),
    )
}
