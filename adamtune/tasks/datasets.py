"""The data sets of the reference tasks. Callers of a loader share its result: do not write to it."""

from __future__ import annotations

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


def shuffle_split(*arrays: NDArray[Any], stratify: NDArray[Any] | None = None) -> list[NDArray[Any]]:
    """Splits arrays of equally many rows at random: four fifths for training, one for validation.

    Args:
        arrays: ``[rows, ...]`` each.
        stratify: labels ``[rows]`` that shall be equally frequent in both parts.

    Returns:
        The training and validation rows of each array in turn.
    """
    order = np.random.RandomState(SPLIT_SEED).permutation(len(arrays[0]))
    by_label = np.arange(len(order)) if stratify is None else np.argsort(stratify[order], kind="stable")
    held_out = np.zeros(len(order), dtype=bool)
    held_out[by_label[::5]] = True
    assert (~held_out).sum() == training_rows(len(order))
    return [array[order[part]] for array in arrays for part in (~held_out, held_out)]


def standardise(
    train: NDArray[np.float64], validation: NDArray[np.float64], axis: int | None = 0
) -> tuple[Tensor, Tensor]:
    """Both parts as float32, scaled so that ``train`` has mean 0 and standard deviation 1 along ``axis``.

    The statistics are those of ``train``. They are computed in float64 and the result is rounded once, so
    that the data and their hash do not depend on a machine's order of summation.
    """
    mean, deviation = train.mean(axis), train.std(axis)
    scaled = ((part - mean) / deviation for part in (train, validation))
    first, second = (torch.from_numpy(part.astype(np.float32)) for part in scaled)
    return first, second


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
    x_train, x_validation, y_train, y_validation = shuffle_split(
        images, labels.astype(np.int64), stratify=labels
    )
    x, held_out_x = standardise(x_train, x_validation, axis=None)
    y, held_out_y = torch.from_numpy(y_train), torch.from_numpy(y_validation)
    return Data((x, y), (held_out_x, held_out_y))


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
    x_train, x_validation, y_train, y_validation = shuffle_split(
        features.astype(np.float64), target.astype(np.float64)
    )
    x, held_out_x = standardise(x_train, x_validation)
    y, held_out_y = standardise(y_train, y_validation)
    return Data((x, y), (held_out_x, held_out_y))
