"""Image classification with a small convolutional network. Torch-free to import."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator

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

DIGITS_ROWS = 1797


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

    @property
    def training_steps(self) -> int:
        """Optimizer steps of all epochs."""
        return self.epochs * batches_per_epoch(training_rows(DIGITS_ROWS), self.batch_size)

    def step_bytes(self) -> int:
        """Nearly three times each convolution's result, kernels and their gradients, and patches."""
        numbers, inner, size = 2**15, 1, 8
        for channels in self.channels:
            numbers += 11 * self.batch_size * size**2 * channels // 4 + 27 * inner * channels
            inner, size = channels, size // 2
        return 4 * (numbers + inner * size**2 * self.hidden)


CLASSES = 10


@dataclass(frozen=True, eq=False)
class Cnn(ReferenceTask):
    """Classification of rows ``(images [batch, 1, height, width], labels [batch])`` by convolutions."""

    channels: tuple[int, ...]
    hidden: int

    def build(self) -> nn.Module:
        """Images to logits ``[batch, 10]``: the convolutions, one hidden layer, the classifier."""
        from torch import nn

        images = self.train[0]
        blocks = [
            layer
            for inputs, outputs in pairwise((images.shape[1], *self.channels))
            for layer in (nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        ]
        height, width = (side >> len(self.channels) for side in images.shape[2:])
        return nn.Sequential(
            *blocks,
            nn.Flatten(),
            nn.Linear(self.channels[-1] * height * width, self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, CLASSES),
        )

    def loss(self, model: Model, batch: Rows) -> Tensor:
        """Mean cross-entropy, in nats."""
        from torch.nn.functional import cross_entropy

        images, labels = batch
        return cross_entropy(model(images), labels)

    def scores(self, model: Model, rows: Rows) -> dict[str, Tensor]:
        """The loss, and the accuracy: the part of the rows whose class the model predicts."""
        from torch.nn.functional import cross_entropy

        images, labels = rows
        logits = model(images)
        hits = logits.argmax(-1) == labels
        return {"val_loss": cross_entropy(logits, labels), "val_accuracy": hits.to(logits.dtype).mean()}


def make(settings: CnnSettings) -> Cnn:
    """The task on its data set."""
    from adamtune.tasks.datasets import digits

    return Cnn(digits(), settings.batch_size, settings.training_steps, settings.channels, settings.hidden)


CNN = TaskEntry(
    "cnn",
    "image classification with a small convolutional network: handwritten digits",
    CnnSettings,
    {"val_loss": "minimize", "val_accuracy": "maximize", "train_loss": "minimize"},
    make,
)
