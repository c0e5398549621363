"""Image classification with a small convolutional network. Torch-free to import."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from adamtune.tasks.base import Count, Task, Width, batches_per_epoch, training_rows

if TYPE_CHECKING:
    from torch import Tensor, nn

    from adamtune.tasks.data import Data

DIGITS_ROWS = 1797
SIDE = 8
"""Height and width of the images."""
CLASSES = 10


class Cnn(Task):
    """Image classification with a small convolutional network: handwritten digits.

    For each number of channels it has a 3x3 convolution, ReLU and 2x2 max-pooling.
    """

    data_settings = ("dataset",)
    directions = {"accuracy": "maximize"}

    dataset: Literal["digits"] = Field("digits", description="which data to learn")
    channels: Annotated[tuple[Width, ...], Field(min_length=1, max_length=3)] = Field(
        (16, 32), description="channels of each convolution; images of 8x8 allow three"
    )
    hidden: Width = Field(64, description="width of the hidden layer")
    batch_size: Count = 64
    epochs: Count = 10

    def data(self) -> Data:
        """Rows ``(images [rows, 1, height, width], labels [rows])``."""
        from adamtune.tasks.datasets import digits

        return digits()

    def model(self) -> nn.Module:
        """Images to logits ``[batch, 10]``: the convolutions, one hidden layer, the classifier."""
        from torch import nn

        blocks = [
            layer
            for inputs, outputs in pairwise((1, *self.channels))
            for layer in (nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        ]
        side = SIDE >> len(self.channels)
        return nn.Sequential(
            *blocks,
            nn.Flatten(),
            nn.Linear(self.channels[-1] * side**2, self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, CLASSES),
        )

    def loss(self, model: Any, batch: Any) -> Tensor:
        """Mean cross-entropy, in nats."""
        from torch.nn.functional import cross_entropy

        images, labels = batch
        return cross_entropy(model(images), labels)

    def metrics(self, model: Any, batch: Any) -> Mapping[str, Tensor]:
        """The loss, and the accuracy: the part of the rows whose class the model predicts."""
        from torch.nn.functional import cross_entropy

        images, labels = batch
        logits = model(images)
        hits = logits.argmax(-1) == labels
        return {"loss": cross_entropy(logits, labels), "accuracy": hits.to(logits.dtype).mean()}

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
        numbers, inner, size = 2**15, 1, SIDE
        for channels in self.channels:
            numbers += 11 * self.batch_size * size**2 * channels // 4 + 27 * inner * channels
            inner, size = channels, size // 2
        return 4 * (numbers + inner * size**2 * self.hidden)
