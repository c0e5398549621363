"""What random search would be expected to have found, estimated from the trials of any search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_POINTS = 8_000_000
"""Distances that are computed at most: points of the space times trials."""
_MISSING = 1 / 6
"""The mean square of the difference of two numbers drawn from 0 to 1, for a setting that a trial lacks."""


@dataclass(frozen=True)
class Coordinate:
    """Where the trials are on one axis of the space.

    Attributes:
        places: of each trial, from 0 to 1 on the scale on which it is searched; the number of the choice
            where ``choices``; NaN for a trial without this setting.
        choices: how many choices there are; 0 for a number.
    """

    places: Sequence[float]
    choices: int = 0


def shares(space: Sequence[Coordinate], seed: int = 0) -> Array:
    """The part of the space for which each trial stands: that of the points to which it is the nearest.

    A search that learns tries some parts of the space more often than others. Weighted by these parts, its
    trials are an estimate of what trials at random would give.

    Args:
        space: the coordinates of the trials.
        seed: of the points that are drawn.
    """
    trials = len(space[0].places)
    points = min(4096, max(_POINTS // trials, 256))
    rng = np.random.default_rng(seed)
    distances = np.zeros((points, trials), np.float32)
    for each in space:
        places = np.asarray(each.places, np.float32)
        if each.choices:
            squares = (rng.integers(each.choices, size=points)[:, None] != places).astype(np.float32)
        else:
            squares = (rng.random(points, np.float32)[:, None] - places) ** 2
        distances += np.where(np.isnan(places), np.float32(_MISSING), squares)
    return np.bincount(distances.argmin(1), minlength=trials) / points


def expected_bests(
    values: Sequence[float], weights: Sequence[float] | Array, counts: Sequence[int]
) -> list[float]:
    """The expected lowest of n values that are drawn with these weights, for each n of ``counts``."""
    order = np.argsort(values)
    ordered = np.asarray(values, np.float64)[order]
    above = np.clip(1 - np.cumsum(np.asarray(weights, np.float64)[order]), 0, 1)
    above[-1] = 0.0  # whatever rounding has left
    # The lowest is one of the first i values unless all n are above them.
    none = np.concatenate([[1.0], above])
    return [float(ordered @ (none[:-1] ** n - none[1:] ** n)) for n in counts]
