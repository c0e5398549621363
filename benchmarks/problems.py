"""Small problems that benchmarks train."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from adamtune.tasks.base import Direction, Task
from adamtune.tasks.data import Data
from adamtune.tasks.datasets import digits, shuffle_split, standardise
from adamtune.tasks.randomness import derive

POINTS, LENGTH = 72, 40
"""The numbers of a curve while it is distorted, and of the finished one."""

TEMPLATES = (
    (5, 6, 6.5, 6.5, 6.5, 6, 5, 3.5, 2.5, 2.5, 3.5, 5),
    (0, 0.5, 1, 2, 6, 6.5, 6.5, 6, 2, 1, 0.5, 0),
    (4, 5.5, 6.5, 6.5, 5, 3, 1.5, 1, 1, 2, 3, 4),
    (2, 4, 5.5, 4.5, 2.5, 2.5, 4.5, 6, 6, 5, 3, 1),
    (1, 2, 3, 4, 5, 5, 4.5, 4.5, 6.5, 6.5, 0.5, 0),
    (6, 6, 5, 4, 4, 5.5, 5.5, 4.5, 3, 2, 2, 3),
    (3, 4.5, 5.5, 6, 6, 5, 3, 1.5, 1, 1.5, 3, 4.5),
    (6, 6, 6, 6, 5.5, 4.5, 3.5, 2.5, 2, 1.5, 1, 0.5),
    (3, 5.5, 6, 4, 2, 1, 2, 4, 6, 5.5, 3, 2),
    (5, 6, 6, 5, 5, 6, 5, 4, 3, 2, 1, 0.5),
)
"""A curve for each of ten classes, drawn for this benchmark."""


class Classifier(Task):
    """A multilayer perceptron for ten classes, of the size of the task mlp."""

    directions: ClassVar[Mapping[str, Direction]] = {"error": "minimize"}
    data_settings = ("samples",)

    samples: int = 0
    epochs: int = 10

    def model(self) -> nn.Module:
        """``[batch, features]`` to ``[batch, 10]``, with ReLU after each of two hidden layers."""
        widths = (self.data().train[0].shape[1], 64, 64)
        layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
        return nn.Sequential(*layers, nn.Linear(widths[-1], 10))

    def loss(self, model: Any, batch: Any) -> Tensor:
        """The cross-entropy of the classes."""
        return cross_entropy(model(batch[0]), batch[1])

    def metrics(self, model: Any, batch: Any) -> dict[str, Tensor]:
        """The part of the rows that are classified wrongly."""
        return {"error": (model(batch[0]).argmax(-1) != batch[1]).float().mean()}


class Digits(Classifier):
    """The 8x8 images of scikit-learn's digits, as rows of 64 numbers."""

    def data(self) -> Data:
        """1,149 training, 288 validation and 360 test rows."""
        parts = (digits().train, digits().validation, digits().test)
        return Data(*((images.flatten(1), labels) for images, labels in parts))


class Normalized(Digits):
    """The digits, with a small perceptron that has batch normalisation and dropout."""

    batch_size: int = 128

    def model(self) -> nn.Module:
        """``[batch, 64]`` to ``[batch, 10]``."""
        hidden = (nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2))
        return nn.Sequential(*hidden, nn.Linear(16, 10))


class Curves(Classifier):
    """Distorted curves of ten classes, as in MNIST-1D (Greydanus, arXiv:2011.14439), of other templates."""

    samples: int = 4000

    def data(self) -> Data:
        """Curves ``[samples, LENGTH]``, standardised, and their classes, split as the built-in data sets."""
        rng = np.random.RandomState(0)
        classes = np.arange(self.samples) % len(TEMPLATES)
        curves = np.stack([distorted(np.array(TEMPLATES[each]), rng) for each in classes])
        x, y = shuffle_split(curves, classes, stratify=classes)
        return Data(*zip(standardise(x, axis=None), y, strict=True))


def distorted(template: NDArray[np.float64], rng: np.random.RandomState) -> NDArray[np.float64]:
    """A curve ``[LENGTH]``: the template padded, scaled, shifted, with noise, and sheared."""
    centred = template - template.mean()
    padded = np.concatenate([centred / np.abs(centred).max(), np.zeros(rng.randint(36, 61))])
    curve = np.roll(resampled(padded, POINTS) * rng.uniform(0.8, 1.2), rng.randint(48))
    kernel = np.exp(-0.5 * (np.arange(-6, 7) / 2) ** 2)
    smooth = np.convolve(np.pad(rng.randn(POINTS), 6, mode="wrap"), kernel / kernel.sum(), "valid")
    slope = rng.uniform(-0.375, 0.375) * np.linspace(-1, 1, POINTS)
    return resampled(curve + 0.25 * smooth + 0.02 * rng.randn(POINTS) + slope, LENGTH)


def resampled(curve: NDArray[np.float64], points: int) -> NDArray[np.float64]:
    """The curve at so many evenly spaced points."""
    return np.interp(np.linspace(0, 1, points), np.linspace(0, 1, len(curve)), curve)


class Friedman(Task):
    """A small multilayer perceptron on few rows of Friedman's function, which are drawn with ``data_seed``.

    Starting weights are drawn anew for each ``draw`` and ``data_seed``, from the seed that a training has: so
    no draw is better than another, and studies of different data have no luck in common.
    """

    data_settings = ("data_seed", "test_rows")

    data_seed: int = 0
    test_rows: int = 0
    draw: int = 0
    epochs: int = 20

    def data(self) -> Data:
        """128 training, 64 validation and ``test_rows`` test rows, in units of the function's deviations."""
        from sklearn.datasets import make_friedman1

        x, y = make_friedman1(192 + self.test_rows, noise=1.0, random_state=self.data_seed)
        rows = [np.asarray(each, np.float32) for each in ((x - 0.5) * 12**0.5, (y - 14.4) / 4.9)]
        parts = (slice(128), slice(128, 192), slice(192, None))[: 3 if self.test_rows else 2]
        return Data(*(tuple(each[part] for each in rows) for part in parts))

    def model(self) -> nn.Module:
        """``[batch, 10]`` to ``[batch, 1]``."""
        torch.default_generator.manual_seed(derive(torch.initial_seed(), self.draw, self.data_seed))
        return nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 1))

    def loss(self, model: Any, batch: Any) -> Tensor:
        """The mean squared error."""
        return mse_loss(model(batch[0]).squeeze(-1), batch[1])
