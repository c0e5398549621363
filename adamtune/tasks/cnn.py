"""Image classification with a small convolutional network. Torch-free to import."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from adamtune.errors import UsageError
from adamtune.tasks.base import Count, Width, batches_per_epoch, training_rows
from adamtune.tasks.own_data import OwnData

if TYPE_CHECKING:
    from torch import Tensor, nn

    from adamtune.tasks.data import Data

DIGITS_ROWS = 1797
SIDE = 8
"""Height and width of the digits."""


class Cnn(OwnData):
    """Image classification with a small convolutional network: handwritten digits, or images of your own.

    For each number of channels it has a 3x3 convolution, ReLU and 2x2 max-pooling.
    """

    data_settings = ("data", "dataset", "side")
    directions = {"accuracy": "maximize"}

    dataset: Literal["digits"] = Field("digits", description="which data to learn")
    side: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        None, description="height and width to which the images of a folder are scaled, if not of one size"
    )
    channels: Annotated[tuple[Width, ...], Field(min_length=1, max_length=3)] = Field(
        (16, 32), description="channels of each convolution; images of 8x8 allow three"
    )
    hidden: Width = Field(64, description="width of the hidden layer")
    batch_size: Count = 64
    epochs: Count = 10

    def data(self) -> Data:
        """Rows ``(images [rows, channels, height, width], labels [rows])``."""
        from adamtune.tasks.datasets import digits
        from adamtune.tasks.images import read_images

        file = self.existing_file()
        return read_images(file, self.side) if file else digits()

    def model(self) -> nn.Module:
        """Images to logits ``[batch, classes]``: the convolutions, one hidden layer, the classifier.

        Raises:
            UsageError: the images are too small for so many convolutions.
        """
        from torch import nn

        images, labels = self.loaded_data.train
        _, colours, *size = images.shape
        if min(size) >> len(self.channels) == 0:
            raise UsageError(
                f"{self.file}: images of {size[0]}x{size[1]} allow {min(size).bit_length() - 1} convolutions,"
                f" found {len(self.channels)} channels: give fewer channels, or larger images"
            )
        height, width = (each >> len(self.channels) for each in size)
        blocks = [
            layer
            for inputs, outputs in pairwise((colours, *self.channels))
            for layer in (nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        ]
        return nn.Sequential(
            *blocks,
            nn.Flatten(),
            nn.Linear(self.channels[-1] * height * width, self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, int(labels.max()) + 1),
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
    def _batch_fits(cls, batch_size: int, info: ValidationInfo) -> int:
        if info.data.get("file", True) is None:
            batches_per_epoch(training_rows(DIGITS_ROWS), batch_size)
        return batch_size

    @field_validator("side")
    @classmethod
    def _is_of_a_file(cls, side: int | None, info: ValidationInfo) -> int | None:
        if info.data.get("file", True) is None and side is not None:
            raise ValueError("found without task.data, the folder of images that are scaled")
        return side

    @property
    def training_steps(self) -> int | None:
        """Optimizer steps of all epochs; None of a file."""
        if self.file is not None:
            return None
        return self.epochs * batches_per_epoch(training_rows(DIGITS_ROWS), self.batch_size)

    def step_bytes(self) -> int | None:
        """Nearly three times each convolution's result, kernels and their gradients, and patches.

        None of a file.
        """
        if self.file is not None:
            return None
        numbers, inner, size = 2**15, 1, SIDE
        for channels in self.channels:
            numbers += 11 * self.batch_size * size**2 * channels // 4 + 27 * inner * channels
            inner, size = channels, size // 2
        return 4 * (numbers + inner * size**2 * self.hidden)
