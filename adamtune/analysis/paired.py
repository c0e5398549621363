"""Two settings compared on common seeds: the interval of their difference, and what may be said of it.

Seed i trains the candidate and the baseline once each; the two values are a pair. A training that diverged
has no value: None, NaN or infinity. Everything follows from the values alone, so that a resumed study repeats
it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import comb, inf, nan, sqrt
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
POWER = 1.0
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
    """The pairs at one look; gains are positive where the candidate is better.

    Attributes:
        low, high: the interval of the mean gain.
        t: the mean gain in standard errors.
        fails_more, fails_less: the pairs in which the candidate alone failed, and the baseline alone.
        level: the one-sided level of the look's bound.
    """

    gains: NDArray[np.float64]
    low: float
    high: float
    t: float
    fails_more: int
    fails_less: int
    level: float
    futility: float
    last: bool

    @property
    def enough(self) -> bool:
        return len(self.gains) >= LEAST_PAIRS

    @property
    def less_reliable(self) -> bool:
        return _heads(self.fails_more, self.fails_less) <= self.level

    @property
    def more_reliable(self) -> bool:
        return _heads(self.fails_less, self.fails_more) <= self.level


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
        if look.less_reliable:
            return "fail"
        if look.enough and look.low > -margin and look.fails_more <= look.fails_less:
            return "pass"
        if look.enough and look.high < 0:
            return "fail"
        return "inconclusive" if look.last else None

    return _first(candidate, baseline, direction, plan, outcome)


def _verdict(look: _Look) -> Outcome | None:
    """The outcome at a look; the order of the rules says which one of several it is."""
    if look.less_reliable:
        return "less_reliable"
    if look.enough:
        if look.fails_more == look.fails_less == 0 and not look.gains.any():
            return "identical"
        if look.low > 0 and look.fails_more <= look.fails_less:
            return "better"
        if look.high < 0:
            return "worse"
    if look.more_reliable:
        return "more_reliable"
    futile = look.fails_less <= look.fails_more and (not look.enough or look.t < look.futility)
    if look.last or futile:
        return "no_difference" if look.enough and look.low <= 0 else "not_confirmed"
    return None


def _heads(heads: int, tails: int) -> float:
    """The probability of as many heads or more in as many flips: the p-value of McNemar's exact test."""
    flips = heads + tails
    return float(sum(comb(flips, number) for number in range(heads, flips + 1)) / 2**flips)


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
        judgement, look = _seen(candidate[:pairs], baseline[:pairs], direction, plan, index)
        if outcome := rule(look):
            return judgement._replace(outcome=outcome)
    return _seen(candidate, baseline, direction, plan, max(len(looks) - 1, 0))[0]


def finished_pairs(candidate: Values, baseline: Values) -> NDArray[np.float64]:
    """The values, [2, n], of the n pairs of which both trainings finished.

    Raises:
        ValueError: not equally many values.
    """
    if len(candidate) != len(baseline):
        raise ValueError(f"pairs have two values; got {len(candidate)} and {len(baseline)}")
    values = np.array([candidate, baseline], np.float64)  # None becomes NaN
    return values[:, np.isfinite(values).all(axis=0)]


def failures(values: Values) -> int:
    """How many trainings diverged."""
    return len(values) - int(np.isfinite(np.array(values, np.float64)).sum())


def _seen(
    candidate: Values, baseline: Values, direction: str, plan: Plan, index: int
) -> tuple[Judgement, _Look]:
    """All figures of the pairs, at the look with this index; without an outcome."""
    finished = finished_pairs(candidate, baseline)
    pairs, n = len(candidate), finished.shape[1]
    differences = finished[0] - finished[1]
    difference = float(differences.mean()) if n else None
    means = [float(mean) for mean in finished.mean(axis=1)] if n else [None, None]
    bound, level = _bound(plan, index, n)
    ends = interval(differences, bound) if n >= 2 else None
    deviation = float(differences.std(ddof=1)) if n >= 2 else None
    sign = -1.0 if direction == "minimize" else 1.0
    low, high = sorted(sign * end for end in ends or (nan, nan))
    t = sign * difference / deviation * sqrt(n) if difference and deviation else 0.0
    failed = failures(candidate), failures(baseline)
    expected = plan.looks[-1] * n / max(pairs, 1)  # as many pairs fail by the last look as have so far
    futility = plan.futility[index] if index < len(plan.futility) else -inf
    last = index == len(plan.looks) - 1
    return Judgement(
        outcome=None,
        difference=difference,
        interval=ends,
        level=LEVEL,
        pairs=pairs,
        n=n,
        candidate_mean=means[0],
        baseline_mean=means[1],
        detectable=None if deviation is None else (plan.bounds[-1] + POWER) * deviation / sqrt(expected),
        candidate_failures=failed[0],
        baseline_failures=failed[1],
        direction=direction,
        deviation=deviation,
    ), _Look(
        sign * differences, low, high, t, pairs - n - failed[1], pairs - n - failed[0], level, futility, last
    )


def _bound(plan: Plan, index: int, n: int) -> tuple[float, float]:
    """The bound of a look for the ``n`` pairs that finished, and its one-sided level; 0 where none failed."""
    bound, pairs = plan.bounds[index], plan.looks[index]
    if n >= pairs:
        return bound, 0.0
    from scipy.special import stdtr, stdtrit

    level = float(stdtr(pairs - 1, -bound))
    return float(-stdtrit(max(n, 2) - 1, level)), level
