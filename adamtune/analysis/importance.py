"""How much of the order of a search's trials each setting explains, beside what noise explains."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from adamtune.storage.records import TrialRecord

Array = NDArray[np.float64]


class Importance(NamedTuple):
    """How much one setting explains.

    Attributes:
        setting: its name.
        share: of the variance of the trials' ranks, what the setting explains that the others do not: 0 to 1.
        noise: the share up to which a setting without effect gets: in 95 % of searches, every one of them.
        low, high: the interval of the share, at 95 %.
    """

    setting: str
    share: float
    noise: float
    low: float = 0.0
    high: float = 1.0


def importance(settings: Sequence[Mapping[str, Any]], ranks: Sequence[float]) -> list[Importance]:
    """The importance of every setting, the largest share first.

    Least squares explain the trials' ranks by all settings together: a number by its rank and its rank
    squared, anything else by a constant for each value. The share of a setting is what the explained sum of
    squares loses without it, and ``noise`` the quantile of the F-test for that. A sampler that learns tries
    good values of all settings at the same time: looked at alone, each would seem to matter. Interactions are
    not seen.

    Args:
        settings: of each trial, by name; some trials may lack some.
        ranks: of each trial, as from ``standings``.

    Returns:
        Nothing with too few trials: fewer than five more than there are coefficients.
    """
    from scipy.special import fdtri

    return [
        Importance(
            each.setting,
            each.share,
            float(fdtri(each.columns, each.free, each.level)) * each.unit,
            *_interval(each),
        )
        for each in _shares(settings, ranks)
    ]


def _interval(found: _Share) -> tuple[float, float]:
    """The shares of which a share like this one is neither among the 2.5 % highest nor the 2.5 % lowest.

    With an effect, F has a noncentral distribution. Patnaik's central F of the same mean and variance stands
    for it, which has values for every noncentrality.
    """
    from scipy.optimize import brentq
    from scipy.special import fdtr

    def bound(level: float) -> float:
        def above(share: float) -> float:
            noncentrality = share / found.unit * found.columns
            scale = found.columns + noncentrality
            columns = scale**2 / (found.columns + 2 * noncentrality)
            ratio = found.share / found.unit * found.columns / scale
            return float(fdtr(columns, found.free, ratio)) - level

        return float(brentq(above, 0.0, 1.0)) if above(0.0) > 0 > above(1.0) else float(above(0.0) > 0)

    return bound(0.975), bound(0.025)


def by_importance(settings: Sequence[Mapping[str, Any]], ranks: Sequence[float]) -> list[str]:
    """The settings as ``importance`` orders them, without the import of SciPy, which takes long."""
    return [each.setting for each in _shares(settings, ranks)]


class _Share(NamedTuple):
    """The share of a setting.

    Attributes:
        columns, free: the degrees of freedom of its F.
        level: the part of the F distribution below ``Importance.noise``.
        unit: the share that an F of 1 is.
    """

    setting: str
    share: float
    columns: int
    free: int
    level: float
    unit: float


def _shares(settings: Sequence[Mapping[str, Any]], ranks: Sequence[float]) -> list[_Share]:
    names = dict.fromkeys(name for each in settings for name in each)
    columns = {name: _columns([each.get(name) for each in settings]) for name in names}
    total = [np.ones((len(ranks), 1))]
    every, most = _fit([*total, *columns.values()], ranks)
    spread, _ = _fit(total, ranks)
    free = len(ranks) - most
    if free < 5 or not spread:
        return []
    found = []
    for name in columns:
        without, rank = _fit([*total, *(columns[other] for other in columns if other != name)], ranks)
        if rank < most:  # else the other settings tell its value
            unit = (most - rank) / free * every / spread
            found.append(
                _Share(name, (without - every) / spread, most - rank, free, 1 - 0.05 / len(columns), unit)
            )
    return sorted(found, key=lambda each: -each.share)


def _fit(columns: Sequence[Array], ranks: Sequence[float]) -> tuple[float, int]:
    """The sum of squares that the columns leave, and their rank."""
    matrix, values = np.hstack(columns), np.asarray(ranks, np.float64)
    coefficients, _, rank, _ = np.linalg.lstsq(matrix, values)
    return float(((values - matrix @ coefficients) ** 2).sum()), int(rank)


def _columns(values: Sequence[Any]) -> Array:
    """What a setting is explained by, [trials, columns]; zeros for trials without it."""
    having = [index for index, value in enumerate(values) if value is not None]
    present = [values[index] for index in having]
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in present)
    keys = np.array(present if numeric else [repr(value) for value in present])
    distinct, places, counts = np.unique(keys, return_inverse=True, return_counts=True)
    if numeric:
        ranks = (2 * np.cumsum(counts) - counts)[places] / len(keys) - 1  # from -1 to 1, ties in the middle
        filled = np.stack([ranks, ranks**2 - (ranks**2).mean()], axis=1)
    else:
        filled = np.eye(len(distinct))[places]
    columns = np.zeros((len(values), filled.shape[1]))
    columns[having] = filled
    return columns


def standings(trials: Sequence[TrialRecord], direction: str) -> list[float]:
    """The rank of each trial: how many others are better, as far as is known.

    Complete trials are compared with each other. A pruned trial is compared at its last evaluation with what
    the others had by this step: those that did not get as far are not better. Diverged trials all rank last.

    Args:
        trials: complete, pruned and diverged ones.
        direction: ``minimize`` or ``maximize``.
    """
    sign = 1.0 if direction == "minimize" else -1.0
    complete = sorted(sign * each.final_value for each in trials if each.state == "complete")
    by_step: dict[int, list[float]] = {}

    def rank(trial: TrialRecord) -> int:
        if trial.state == "complete":
            return bisect_left(complete, sign * trial.final_value)
        if trial.state == "diverged" or not trial.intermediate:
            return len(trials)
        step = max(trial.intermediate)
        if step not in by_step:
            values = (_value_at(each, step) for each in trials)
            by_step[step] = sorted(sign * value for value in values if value is not None)
        return bisect_left(by_step[step], sign * trial.intermediate[step])

    return [float(rank(each)) for each in trials]


def _value_at(trial: TrialRecord, step: int) -> float | None:
    """The last finite value up to a step, of a trial that was trained as far."""
    before = [at for at, value in trial.intermediate.items() if at <= step and isfinite(value)]
    reached = trial.intermediate and max(trial.intermediate) >= step
    return trial.intermediate[max(before)] if reached and before else None
