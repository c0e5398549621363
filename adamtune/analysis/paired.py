"""Two settings compared on common seeds: the interval of their difference, and what may be said of it.

Seed i trains the candidate and the baseline once each; the two values are a pair. A training that diverged
has no value: None, NaN or infinity. Everything follows from the values alone, so that a resumed study repeats
it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import comb, sqrt
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adamtune.analysis.looks import FULL, GATE, LEAST_PAIRS, Plan

Values = Sequence[float | None]
Outcome = Literal[
    "better",
    "worse",
    "no_difference",
    "identical",
    "less_reliable",
    "more_reliable",
    "not_confirmed",
    "pass",
    "fail",
    "inconclusive",
]

LEVEL = 0.95
_POWER = 1.0
"""Added to a bound, it is the difference in standard errors that simulated plans find four times in five."""


class Judgement(NamedTuple):
    """What the pairs show. Differences are candidate minus baseline, in the metric's own units.

    Attributes:
        outcome: None while more pairs are needed; the last three are ``gate``'s.
        difference: the mean over the pairs of which both trainings finished; None without such a pair.
        interval: of ``difference``; None with fewer than two such pairs.
        level: of ``interval``, over all looks of the plan.
        pairs: the number of pairs that the judgement is of: those up to the look that decided.
        n: how many of them finished on both sides.
        candidate_mean, baseline_mean: over these n pairs.
        detectable: the smallest difference that all pairs of the plan would find four times in five.
        candidate_failures, baseline_failures: trainings that diverged, of ``pairs``.
        direction: ``minimize`` or ``maximize``.
        deviation: the standard deviation of the differences of these n pairs; None with fewer than two.
        rows: the number of rows whose uncertainty ``interval`` contains (see ``rows.with_rows``).
        row_half_width: the half-width that these rows alone would leave.
    """

    outcome: Outcome | None
    difference: float | None
    interval: tuple[float, float] | None
    level: float
    pairs: int
    n: int
    candidate_mean: float | None
    baseline_mean: float | None
    detectable: float | None
    candidate_failures: int
    baseline_failures: int
    direction: str
    deviation: float | None = None
    rows: int | None = None
    row_half_width: float | None = None


class _Look(NamedTuple):
    """The pairs at one look; gains are positive where the candidate is better."""

    finished: NDArray[np.float64]  # [2, n], the candidate's values and the baseline's
    gains: NDArray[np.float64]
    low: float
    high: float
    t: float
    candidate_failures: int
    baseline_failures: int
    pairs: int
    bound: float
    last: bool
    futility: float

    @property
    def candidate_only(self) -> int:
        """The number of pairs in which the candidate alone failed."""
        return self.pairs - len(self.gains) - self.baseline_failures

    @property
    def baseline_only(self) -> int:
        return self.pairs - len(self.gains) - self.candidate_failures

    @property
    def enough(self) -> bool:
        return len(self.gains) >= LEAST_PAIRS


def interval(differences: Sequence[float] | NDArray[np.float64], bound: float) -> tuple[float, float]:
    r"""The interval of the mean that a bound on \|t\| gives, with Hall's correction for skewness.

    With m, s and g the mean, standard deviation and skewness of n differences, and

        T(c) = 3 sqrt(n) / g * (cbrt(1 + g (c / sqrt(n) - g / (6 n))) - 1),     T(c) = c for \|g\| < 0.001,

    it is m - max(c, T(c)) s / sqrt(n) to m + max(c, -T(-c)) s / sqrt(n): never narrower than Student's.

    Args:
        differences: n of them, at least two.
        bound: c, the critical value.

    Reference: Hall (1992), On the removal of skewness by transformation, JRSS B 54.
    """
    values = np.asarray(differences, np.float64)
    n = len(values)
    if n < 2:
        raise ValueError(f"an interval takes at least two differences; got {n}")
    if np.ptp(values) == 0:  # whatever rounding makes of the standard deviation
        return float(values[0]), float(values[0])
    scale = float(np.abs(values).max())  # so that no power of a difference is too large or too small
    values = values / scale
    mean, deviation = float(values.mean()), float(values.std())
    skewness = float((((values - mean) / deviation) ** 3).mean())
    error = deviation / sqrt(n - 1)
    low = mean - max(bound, _hall(bound, skewness, n)) * error
    high = mean + max(bound, -_hall(-bound, skewness, n)) * error
    return low * scale, high * scale


def _hall(bound: float, skewness: float, n: int) -> float:
    if abs(skewness) < 1e-3:
        return bound
    inner = 1 + skewness * (bound / sqrt(n) - skewness / (6 * n))
    return float(3 * sqrt(n) / skewness * (np.cbrt(inner) - 1))


def judge(candidate: Values, baseline: Values, direction: str, plan: Plan = FULL) -> Judgement:
    """The verdict on a candidate at the first look of ``plan`` that decides.

    Args:
        candidate, baseline: the values on the seeds trained so far, in the order of the seeds, equally many.
        direction: ``minimize`` or ``maximize``.
        plan: when, and how strictly, the pairs are judged.

    Returns:
        Its outcome is None while the looks so far decide nothing. Values after the look that decides change
        nothing.
    """
    return _first(candidate, baseline, direction, plan, _verdict)


def gate(candidate: Values, baseline: Values, direction: str, margin: float, plan: Plan = GATE) -> Judgement:
    """Whether a candidate is no worse than a baseline by ``margin``: pass, fail or inconclusive.

    Args:
        margin: the loss that is accepted, positive, in the metric's own units; the other arguments and what
            is returned are as in ``judge``.
    """
    if not margin > 0:
        raise ValueError(f"a margin is positive; got {margin}")

    def outcome(look: _Look) -> Outcome | None:
        if _mcnemar(look.candidate_only, look.baseline_only) <= _level(look):
            return "fail"
        if look.enough and look.low > -margin and look.candidate_only <= look.baseline_only:
            return "pass"
        if look.enough and look.high < 0:
            return "fail"
        return "inconclusive" if look.last else None

    return _first(candidate, baseline, direction, plan, outcome)


def _verdict(look: _Look) -> Outcome | None:
    """The order of the rules says which outcome a candidate has that earns several."""
    fails_more = look.candidate_only > look.baseline_only
    fails_less = look.candidate_only < look.baseline_only
    if _mcnemar(look.candidate_only, look.baseline_only) <= _level(look):
        return "less_reliable"
    if look.enough:
        if look.candidate_only == look.baseline_only == 0 and not look.gains.any():
            return "identical"
        if look.low > 0 and not fails_more:
            return "better"
        if look.high < 0:
            return "worse"
    if _mcnemar(look.baseline_only, look.candidate_only) <= _level(look):
        return "more_reliable"
    futile = not fails_less and (not look.enough or look.t < look.futility)
    if look.last or futile:
        return "no_difference" if look.enough and look.low <= 0 else "not_confirmed"
    return None


def _mcnemar(failed: int, other: int) -> float:
    """The exact one-sided p-value: the chance of ``failed`` heads or more in ``failed + other`` flips."""
    flips = failed + other
    return float(sum(comb(flips, heads) for heads in range(failed, flips + 1)) / 2**flips)


def _level(look: _Look) -> float:
    """The one-sided level of the bound: what a look may spend on failures, too."""
    if look.candidate_only == look.baseline_only == 0:
        return 0.0
    from scipy.special import stdtr

    return float(stdtr(look.pairs - 1, -look.bound))


def _first(
    candidate: Values,
    baseline: Values,
    direction: str,
    plan: Plan,
    rule: Callable[[_Look], Outcome | None],
) -> Judgement:
    """The judgement at the first look at which ``rule`` has an outcome, else of all pairs without one."""
    if direction not in ("minimize", "maximize"):
        raise ValueError(f"direction is minimize or maximize; got {direction!r}")
    looks = [pairs for pairs in plan.looks if pairs <= len(candidate)]
    for index, pairs in enumerate(looks):
        look = _look(candidate[:pairs], baseline[:pairs], direction, plan, index)
        if outcome := rule(look):
            return _judgement(look, direction, plan, outcome)
    look = _look(candidate, baseline, direction, plan, max(len(looks) - 1, 0))
    return _judgement(look, direction, plan, None)


def _finite(values: Values) -> NDArray[np.float64]:
    array = np.array(values, np.float64)  # None becomes NaN
    return np.where(np.isfinite(array), array, np.nan)


def finished_pairs(candidate: Values, baseline: Values) -> NDArray[np.float64]:
    """The values, [2, n], of the n pairs of which both trainings finished.

    Raises:
        ValueError: not equally many values.
    """
    if len(candidate) != len(baseline):
        raise ValueError(f"pairs have two values; got {len(candidate)} and {len(baseline)}")
    values = np.array([_finite(candidate), _finite(baseline)])
    return values[:, np.isfinite(values).all(axis=0)]


def _look(candidate: Values, baseline: Values, direction: str, plan: Plan, index: int) -> _Look:
    finished = finished_pairs(candidate, baseline)
    gains = finished[1] - finished[0] if direction == "minimize" else finished[0] - finished[1]
    low, high, t = np.nan, np.nan, np.nan
    if len(gains) >= 2:
        low, high = interval(gains, _adjusted(plan.bounds[index], plan.looks[index], len(gains)))
        error = float(gains.std(ddof=1)) / sqrt(len(gains))
        t = float(gains.mean()) / error if error else 0.0
    failures = [int(np.isnan(_finite(values)).sum()) for values in (candidate, baseline)]
    return _Look(
        finished,
        gains,
        low,
        high,
        t,
        failures[0],
        failures[1],
        len(candidate),
        plan.bounds[index],
        index == len(plan.looks) - 1,
        plan.futility[index] if index < len(plan.futility) else -np.inf,
    )


def _adjusted(bound: float, pairs: int, finished: int) -> float:
    """The bound for \\|t\\| of the pairs that finished, at the level that ``bound`` has for all of them."""
    if finished >= pairs:
        return bound
    from scipy.special import stdtr, stdtrit

    return float(-stdtrit(finished - 1, stdtr(pairs - 1, -bound)))


def _judgement(look: _Look, direction: str, plan: Plan, outcome: Outcome | None) -> Judgement:
    sign = -1.0 if direction == "minimize" else 1.0
    n = len(look.gains)
    means = [float(mean) for mean in look.finished.mean(axis=1)] if n else [None, None]
    ends = sorted((sign * look.low, sign * look.high))
    deviation = float(look.gains.std(ddof=1)) if n >= 2 else None
    expected = plan.looks[-1] * n / max(look.pairs, 1)  # as many pairs fail by the last look as have so far
    return Judgement(
        outcome=outcome,
        difference=sign * float(look.gains.mean()) if n else None,
        interval=(ends[0], ends[1]) if n >= 2 else None,
        level=LEVEL,
        pairs=look.pairs,
        n=n,
        candidate_mean=means[0],
        baseline_mean=means[1],
        detectable=None if deviation is None else (plan.bounds[-1] + _POWER) * deviation / sqrt(expected),
        candidate_failures=look.candidate_failures,
        baseline_failures=look.baseline_failures,
        direction=direction,
        deviation=deviation,
    )
