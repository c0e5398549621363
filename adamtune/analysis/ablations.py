"""What each setting of the winner is worth: the winner with that setting put back, on common seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np

from adamtune.analysis.looks import LEAST_PAIRS
from adamtune.analysis.paired import Values, failures, finished_pairs, interval


class Effect(NamedTuple):
    """The effect of putting one setting back: put back minus winner, in the metric's own units.

    Attributes:
        setting: its name.
        difference, interval: the mean over the pairs, and the 95 % interval of this setting alone; None with
            fewer than five pairs of which both trainings finished.
        n: the number of these pairs.
        p: two-sided, by a paired t-test, adjusted by Holm's method for the number of settings.
        failures: the trainings with the setting put back that diverged.
    """

    setting: str
    difference: float | None
    interval: tuple[float, float] | None
    n: int
    p: float | None
    failures: int


def paired_effects(winner: Values, put_back: Mapping[str, Values]) -> list[Effect]:
    """The effect of each setting, in the order of ``put_back``.

    Args:
        winner: its values on the seeds, in order; None, NaN or infinity where a training diverged.
        put_back: by setting, the values on the same seeds with this one put back to the baseline's.
    """
    effects = [_effect(setting, winner, values) for setting, values in put_back.items()]
    tested = [effect for effect in effects if effect.p is not None]
    adjusted = iter(holm([effect.p for effect in tested if effect.p is not None]))
    return [effect if effect.p is None else effect._replace(p=next(adjusted)) for effect in effects]


def _effect(setting: str, winner: Values, values: Values) -> Effect:
    from scipy.special import stdtr, stdtrit

    own, put_back = finished_pairs(winner, values)
    differences, n = put_back - own, len(own)
    if n < LEAST_PAIRS:
        return Effect(setting, None, None, n, None, failures(values))
    mean, error = float(differences.mean()), float(differences.std(ddof=1)) / sqrt(n)
    # Equal differences have no spread: they are zero, or no chance makes them.
    p = float(2 * stdtr(n - 1, -abs(mean) / error)) if np.ptp(differences) else float(mean == 0)
    return Effect(setting, mean, interval(differences, float(stdtrit(n - 1, 0.975))), n, p, failures(values))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted by Holm's method, in their order: at 0.05, one of 20 families has a wrong one."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min((len(order) - rank) * p_values[index], 1.0))
        adjusted[index] = highest
    return adjusted
