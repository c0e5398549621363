"""The learning rate over a training, computed with NumPy: what draws it need not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from adamtune.schedules.registry import lr_factor


class _Array(np.ndarray):
    """An array with those of torch's methods that factors are computed with."""

    def clamp(self, min: float) -> Any:
        return np.maximum(self, min)

    def where(self, condition: Any, other: Any) -> Any:
        return np.where(condition, self, other).view(_Array)

    def double(self) -> Any:
        return self.astype(np.float64)

    def long(self) -> Any:
        return self.astype(np.int64)

    def rsqrt(self) -> Any:
        return self**-0.5

    def ceil(self) -> Any:
        return np.ceil(self)

    def floor(self) -> Any:
        return np.floor(self)

    def cos(self) -> Any:
        return np.cos(self)

    def log(self) -> Any:
        return np.log(self)


def lr_curve(name: str, hyperparameters: Mapping[str, float], total: int, steps: list[int]) -> list[float]:
    """The factor on lr at some updates of one training.

    Args:
        name: a name in ``SCHEDULES``.
        hyperparameters: every hyperparameter of the schedule by name.
        total: optimizer steps of the training.
        steps: the updates, 0 for the first.
    """
    values: Any = {key: np.array([value], np.float64).view(_Array) for key, value in hyperparameters.items()}
    at: Any = np.array(steps, np.int64).view(_Array)
    length: Any = np.array([total]).view(_Array)
    with np.errstate(all="ignore"):  # as in torch, what divides by zero is not used
        factors: Any = lr_factor(name, at, length, values)
    return [*map(float, factors)]
