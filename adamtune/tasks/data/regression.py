"""Regression data: standardised features ``[rows, 10]`` and a standardised target ``[rows]``."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adamtune.tasks.data.shipped import shipped
from adamtune.tasks.data.split import Split, fingerprint, shuffle_split, standardise

FRIEDMAN_SEED = 0


@lru_cache(maxsize=8)
def diabetes() -> Split:
    """A measure of disease progression in 442 patients (Efron et al., Least Angle Regression, 2004)."""
    return _split(shipped("diabetes_data_raw.csv.gz"), shipped("diabetes_target.csv.gz"))


@lru_cache(maxsize=8)
def friedman1(samples: int) -> Split:
    """A nonlinear function of 5 of 10 uniform features, with unit noise (Friedman, MARS, 1991)."""
    from sklearn.datasets import make_friedman1

    return _split(*make_friedman1(n_samples=samples, noise=1.0, random_state=FRIEDMAN_SEED))


def _split(features: NDArray[Any], target: NDArray[Any]) -> Split:
    x_train, x_validation, y_train, y_validation = shuffle_split(
        features.astype(np.float64), target.astype(np.float64)
    )
    x, held_out_x = standardise(x_train, x_validation)
    y, held_out_y = standardise(y_train, y_validation)
    return Split((x, y), (held_out_x, held_out_y), fingerprint(x, y, held_out_x, held_out_y))
