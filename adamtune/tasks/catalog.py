"""The tasks there are, with their settings and metrics; torch-free, so that study files check fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from adamtune.tasks.protocol import Task

Direction = Literal["minimize", "maximize"]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Width = Annotated[int, Field(ge=1, le=8192)]


class Settings(BaseModel):
    """What every task's settings share: they are frozen, and an unknown one is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MlpSettings(Settings):
    """A multilayer perceptron for regression."""

    dataset: Literal["diabetes", "friedman1"] = Field("diabetes", description="which data to learn")
    samples: Annotated[int, Field(ge=20, le=1_000_000)] = Field(
        1000, description="rows of friedman1 (diabetes always has its 442)"
    )
    hidden: tuple[Width, ...] = Field((64, 64), description="width of each hidden layer")
    batch_size: Count = 32
    epochs: Count = 30


class CnnSettings(Settings):
    """A small convolutional network: per channel count a 3x3 convolution, ReLU and 2x2 max-pooling."""

    dataset: Literal["digits"] = Field("digits", description="which data to learn")
    channels: Annotated[tuple[Width, ...], Field(min_length=1, max_length=3)] = Field(
        (16, 32), description="channels of each convolution; images of 8x8 allow three"
    )
    hidden: Width = Field(64, description="width of the hidden layer")
    batch_size: Count = 64
    epochs: Count = 10


class TransformerSettings(Settings):
    """A causal, pre-norm Transformer that predicts the next character."""

    dataset: Literal["python-reference"] = Field("python-reference", description="which text to learn")
    d_model: Width = Field(32, description="width of the residual stream, a multiple of heads")
    layers: Annotated[int, Field(ge=1, le=48)] = 2
    heads: Annotated[int, Field(ge=1, le=64)] = 2
    context: Annotated[int, Field(ge=2, le=1024)] = Field(32, description="characters seen at once")
    batch_size: Count = 32
    steps: Count = Field(300, description="optimizer steps of one training")


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
