"""The data sets of the reference tasks. Callers of a loader share its result: do not write to it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adamtune.errors import AdamtuneError
from adamtune.tasks.base import training_rows
from adamtune.tasks.data import Data

SPLIT_SEED = 0
"""All studies have one split, whatever their seed, so that their values can be compared."""


Parts = list[NDArray[Any]]
"""The training, validation and test rows of an array."""


def shuffle_split(*arrays: NDArray[Any], stratify: NDArray[Any] | None = None) -> Iterator[Parts]:
    """Splits arrays of equally many rows at random: training 64 %, validation 16 %, test 20 %.

    Args:
        arrays: ``[rows, ...]`` each.
        stratify: labels ``[rows]`` that shall be equally frequent in all parts. Three rows of a label are
            enough to have one for training.

    Yields:
        The parts of each array in turn.
    """
    order = np.random.RandomState(SPLIT_SEED).permutation(len(arrays[0]))
    by_label = np.arange(len(order)) if stratify is None else np.argsort(stratify[order], kind="stable")
    part = np.zeros(len(order), dtype=np.int64)
    rest = by_label[np.arange(len(order)) % 5 > 0]
    part[by_label[::5]], part[rest[::5]] = 2, 1
    assert (part == 0).sum() == training_rows(len(order))
    for array in arrays:
        yield [array[order[part == each]] for each in range(3)]


def standardise(parts: Parts, axis: int | tuple[int, ...] | None = 0) -> list[Tensor]:
    """All parts as float32, scaled so that the first has mean 0 and standard deviation 1 along ``axis``.

    What is constant in the first part becomes 0 in all. The statistics are computed in float64 and the result
    is rounded once, so that the data and their hash do not depend on a machine's order of summation.
    """
    mean, deviation = (each(parts[0], axis, np.float64, keepdims=True) for each in (np.mean, np.std))
    deviation = np.where(deviation > 1e-12 * np.abs(mean), deviation, np.inf)
    return [torch.from_numpy(((part - mean) / deviation).astype(np.float32)) for part in parts]


def shipped(name: str, delimiter: str | None = None) -> NDArray[Any]:
    """A table of numbers from ``sklearn/datasets/data``, float64 ``[rows, columns]`` or ``[rows]``.

    Raises:
        AdamtuneError: scikit-learn is not installed, or its version has no such table.
    """
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise AdamtuneError("scikit-learn, which has the data, is not installed: pip install scikit-learn")
    path = Path(package.origin).parent / "datasets" / "data" / name
    if not path.exists():
        raise AdamtuneError(f"this version of scikit-learn has no {path}: install the one in constraints.txt")
    return np.loadtxt(path, delimiter=delimiter)


@lru_cache(maxsize=1)
def digits() -> Data:
    """1,797 images of ten classes (Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, 1998)."""
    table = shipped("digits.csv.gz", delimiter=",")
    images, labels = table[:, :-1].reshape(-1, 1, 8, 8), table[:, -1]
    x, y = shuffle_split(images, labels.astype(np.int64), stratify=labels)
    return Data(*zip(standardise(x, axis=None), y, strict=True))


FRIEDMAN_SEED = 0


@lru_cache(maxsize=8)
def diabetes() -> Data:
    """A measure of disease progression in 442 patients (Efron et al., Least Angle Regression, 2004)."""
    return _split(shipped("diabetes_data_raw.csv.gz"), shipped("diabetes_target.csv.gz"))


@lru_cache(maxsize=8)
def friedman1(samples: int) -> Data:
    """A nonlinear function of 5 of 10 uniform features, with unit noise (Friedman, MARS, 1991)."""
    from sklearn.datasets import make_friedman1

    return _split(*make_friedman1(n_samples=samples, noise=1.0, random_state=FRIEDMAN_SEED))


def _split(features: NDArray[Any], target: NDArray[Any]) -> Data:
    x, y = shuffle_split(features.astype(np.float64), target.astype(np.float64))
    return Data(*zip(standardise(x), standardise(y), strict=True))
