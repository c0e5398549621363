"""Image classification with a small convolutional network."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from adamtune.tasks.catalog import CnnSettings
from adamtune.tasks.data.digits import digits
from adamtune.tasks.protocol import Model, Rows
from adamtune.tasks.reference import ReferenceTask
from adamtune.tasks.rows import batches_per_epoch

CLASSES = 10


@dataclass(frozen=True, eq=False)
class Cnn(ReferenceTask):
    """Rows are ``(images [batch, 1, height, width], labels [batch])``; the loss is the cross-entropy."""

    channels: tuple[int, ...]
    hidden: int

    def build(self) -> nn.Module:
        """Images to logits ``[batch, 10]``: the convolutions, one hidden layer, the classifier."""
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
        images, labels = batch
        return F.cross_entropy(model(images), labels)

    def scores(self, model: Model, rows: Rows) -> dict[str, Tensor]:
        """The loss, and the part of the rows whose class is predicted."""
        images, labels = rows
        logits = model(images)
        hits = logits.argmax(-1) == labels
        return {"val_loss": F.cross_entropy(logits, labels), "val_accuracy": hits.to(logits.dtype).mean()}


def build(settings: CnnSettings) -> Cnn:
    """The task on its data set."""
    data = digits()
    steps = settings.epochs * batches_per_epoch(len(data.train[0]), settings.batch_size)
    return Cnn(data, settings.batch_size, steps, settings.channels, settings.hidden)
