"""Regression with a multilayer perceptron."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from adamtune.tasks.catalog import MlpSettings
from adamtune.tasks.data.regression import diabetes, friedman1
from adamtune.tasks.protocol import Model, Rows
from adamtune.tasks.reference import ReferenceTask
from adamtune.tasks.rows import batches_per_epoch


@dataclass(frozen=True, eq=False)
class Mlp(ReferenceTask):
    """Rows are ``(features [batch, features], target [batch])``; the loss is the mean squared error."""

    hidden: tuple[int, ...]

    def build(self) -> nn.Module:
        """``[..., features]`` to ``[..., 1]``, with ReLU after each hidden layer."""
        widths = (self.train[0].shape[1], *self.hidden)
        layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
        return nn.Sequential(*layers, nn.Linear(widths[-1], 1))

    def loss(self, model: Model, batch: Rows) -> Tensor:
        """Mean squared error of the standardised target."""
        features, target = batch
        return F.mse_loss(model(features).squeeze(-1), target)

    def scores(self, model: Model, rows: Rows) -> dict[str, Tensor]:
        """The loss, and R2: the part of the target's variance over ``rows`` that is explained."""
        error = self.loss(model, rows)
        return {"val_loss": error, "val_r2": 1 - error / rows[1].var(correction=0)}


def build(settings: MlpSettings) -> Mlp:
    """The task on its data set."""
    data = diabetes() if settings.dataset == "diabetes" else friedman1(settings.rows)
    steps = settings.epochs * batches_per_epoch(len(data.train[0]), settings.batch_size)
    return Mlp(data, settings.batch_size, steps, settings.hidden)
