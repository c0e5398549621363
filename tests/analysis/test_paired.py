"""The verdict on a candidate: intervals, looks, failures, the gate."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from adamtune.analysis.looks import FULL, GATE, SMALL, Plan
from adamtune.analysis.paired import Judgement, gate, interval, judge

FLOATS = st.floats(-100, 100, allow_nan=False)
SAMPLES = st.lists(FLOATS, min_size=2, max_size=24)
PAIRS = st.lists(
    st.tuples(st.one_of(FLOATS, st.just(math.nan)), st.one_of(FLOATS, st.just(math.nan))), max_size=26
)


def pairs_with(gains: list[float | None], base: float = 10.0) -> tuple[list[float | None], list[float]]:
    """Candidates and baselines of a metric to minimize; a gain of None is a candidate that diverged."""
    return [None if gain is None else base - gain for gain in gains], [base] * len(gains)


def spread(n: int, mean: float, deviation: float = 1.0) -> list[float]:
    """``n`` symmetric values of exactly this mean and standard deviation."""
    values = np.linspace(-1, 1, n)
    return list(mean + deviation * values / values.std(ddof=1))


def test_the_interval_of_symmetric_differences_is_students() -> None:
    differences = [0.1, 0.4, 0.2, 0.5, 0.3]
    error = stats.sem(differences)
    assert interval(differences, 2.5) == pytest.approx((0.3 - 2.5 * error, 0.3 + 2.5 * error))


def test_the_interval_of_skewed_differences_by_hand() -> None:
    # Differences 0, 0, 0, 0, 1: m = 0.2, s = sqrt(0.2), s / sqrt(5) = 0.2, skewness 1.5.
    # T(c) = (3 sqrt(5) / 1.5) (cbrt(1 + 1.5 (c / sqrt(5) - 1.5 / 30)) - 1)
    upper = 2 * math.sqrt(5) * (np.cbrt(1 + 1.5 * (3 / math.sqrt(5) - 0.05)) - 1)
    lower = 2 * math.sqrt(5) * (np.cbrt(1 + 1.5 * (-3 / math.sqrt(5) - 0.05)) - 1)
    assert upper < 3 < -lower
    assert interval([0, 0, 0, 0, 1], 3.0) == pytest.approx((0.2 - 3 * 0.2, 0.2 - lower * 0.2))


@given(SAMPLES, st.floats(0.5, 5))
def test_the_interval_contains_students(differences: list[float], bound: float) -> None:
    assume(np.ptp(differences) > 1e-6)
    mean, error = np.mean(differences), stats.sem(differences)
    low, high = interval(differences, bound)
    assert low <= mean - bound * error + 1e-9
    assert high >= mean + bound * error - 1e-9


@given(SAMPLES, st.floats(0.1, 10), FLOATS)
def test_the_interval_scales_and_shifts_and_turns(
    differences: list[float], scale: float, shift: float
) -> None:
    assume(np.ptp(differences) > 1e-3)
    low, high = interval(differences, 3.0)
    values = np.array(differences)
    near = {"rel": 1e-5, "abs": 1e-5 * max(abs(low), abs(high), 1)}
    assert interval(values * scale, 3.0) == pytest.approx((low * scale, high * scale), **near)
    assert interval(values + shift, 3.0) == pytest.approx((low + shift, high + shift), **near)
    assert interval(-values, 3.0) == pytest.approx((-high, -low), **near)


def test_equal_differences_have_an_interval_of_no_width() -> None:
    assert interval([0.1 + 0.2] * 6, 3.0) == (0.1 + 0.2, 0.1 + 0.2)


@pytest.mark.parametrize(
    ("gains", "outcome", "pairs"),
    [
        (spread(8, 1.2), "better", 8),  # t = 3.39
        (spread(8, 1.0), None, 8),  # t = 2.83: above 2.34, below 3.13
        (spread(8, -1.2), "worse", 8),
        (spread(8, -0.1), "no_difference", 8),  # t < 0
        (spread(14, 0.8), "better", 14),  # t = 2.99
        (spread(14, 0.3), None, 14),  # t = 1.12
        (spread(14, 0.2), "no_difference", 14),  # t = 0.75
        (spread(24, 0.5), "better", 24),  # t = 2.45
        (spread(24, 0.4), "no_difference", 24),  # t = 1.96
        ([0.0] * 8, "identical", 8),
        ([0.5] * 8, "better", 8),
        ([], None, 0),
        ([1.0], None, 1),
        (spread(7, 9.0), None, 7),
    ],
)
def test_outcomes_of_the_full_plan(gains: list[float], outcome: str | None, pairs: int) -> None:
    # The order within the first look hides it from symmetric samples: earlier looks see the middle values.
    order = np.argsort(np.abs(np.array(gains) - np.mean(gains or [0])), kind="stable")
    later = Plan(5, 3, FULL.looks[-3:], FULL.bounds, FULL.futility)
    if pairs in (14, 24):  # judge at this look alone
        index = later.looks.index(pairs)
        last = () if pairs == 24 else FULL.futility[index:]
        later = Plan(5, 3, FULL.looks[index:], FULL.bounds[index:], last)
    judgement = judge(*pairs_with([gains[i] for i in order]), "minimize", later)
    assert (judgement.outcome, judgement.pairs) == (outcome, pairs)


def test_the_first_look_that_decides_counts_whatever_comes_later() -> None:
    early = spread(8, 1.2)
    first = judge(*pairs_with(early), "minimize")
    assert judge(*pairs_with(early + [-5.0] * 16), "minimize") == first


def test_figures_of_a_judgement() -> None:
    candidate = [0.9, 0.7, 0.8, 0.6, 0.9, 0.8, None, 0.7]
    baseline = [1.0, 1.1, 0.9, 1.0, 1.2, None, 1.1, 0.9]
    judgement = judge(candidate, baseline, "minimize")
    gains = np.array([0.1, 0.4, 0.1, 0.4, 0.3, 0.2])
    bound = stats.t.isf(stats.t.sf(3.13, 7), 5)  # the level of 8 pairs for 6
    low, high = interval(gains, bound)
    assert bound > 3.13
    assert judgement.difference == pytest.approx(-0.25)
    assert judgement.interval == pytest.approx((-high, -low))
    assert judgement.candidate_mean == pytest.approx(4.6 / 6)
    assert judgement.baseline_mean == pytest.approx(6.1 / 6)
    assert (judgement.pairs, judgement.n) == (8, 6)
    assert (judgement.candidate_failures, judgement.baseline_failures) == (1, 1)
    assert judgement.detectable == pytest.approx((2.34 + 1.0) * gains.std(ddof=1) / math.sqrt(24 * 6 / 8))


FAILED: list[float | None] = [None]


@pytest.mark.parametrize(
    ("gains", "outcome"),
    [
        (FAILED * 7 + [9.0], "less_reliable"),  # 1/128 < .0083
        (FAILED * 6 + [9.0] * 2, "not_confirmed"),  # too few pairs, and no sign that it fails less
        (FAILED + spread(7, 5.0), None),  # better where both finish, but it fails more often
        (FAILED + spread(7, -5.0), "worse"),
    ],
)
def test_a_candidate_that_diverges(gains: list[float | None], outcome: str | None) -> None:
    assert judge(*pairs_with(gains), "minimize").outcome == outcome
    candidate, baseline = pairs_with(gains)
    mirrored = judge(baseline, candidate, "minimize").outcome
    turned = {"less_reliable": "more_reliable", "not_confirmed": None, None: "worse", "worse": "better"}
    assert mirrored == turned[outcome]


def test_a_candidate_that_diverges_once_is_not_confirmed_in_the_end() -> None:
    judgement = judge(*pairs_with(FAILED + spread(23, 5.0)), "minimize")
    assert (judgement.outcome, judgement.pairs, judgement.candidate_failures) == ("not_confirmed", 24, 1)


def test_without_any_value_nothing_is_confirmed() -> None:
    judgement = judge([None] * 8, [math.inf] * 8, "minimize")
    assert judgement[:3] == ("not_confirmed", None, None)
    assert (judgement.n, judgement.candidate_mean, judgement.detectable) == (0, None, None)


@pytest.mark.parametrize("plan", [FULL, SMALL])
def test_levels_of_failures_are_those_of_the_looks(plan: Plan) -> None:
    """An exact McNemar test at the one-sided level of each look, through the public function."""
    for pairs, bound in zip(plan.looks, plan.bounds, strict=True):
        for failed in range(pairs + 1):
            gains = FAILED * failed + [0.0] * (pairs - failed)
            significant = stats.binomtest(failed, failed, alternative="greater").pvalue if failed else 1.0
            expected = significant <= stats.t.sf(bound, pairs - 1)
            look = Plan(1, 0, (pairs,), (bound,))
            assert (judge(*pairs_with(gains), "minimize", look).outcome == "less_reliable") == expected


def same(one: Judgement, other: Judgement) -> bool:
    return repr(one) == repr(other)


@given(PAIRS)
def test_maximize_is_minimize_with_the_signs_turned(pairs: list[tuple[float, float]]) -> None:
    candidate, baseline = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    one = judge(candidate, baseline, "minimize")
    other = judge([-value for value in candidate], [-value for value in baseline], "maximize")
    assert other.outcome == one.outcome
    assert other.difference == (None if one.difference is None else -one.difference)
    assert other.interval == (one.interval and pytest.approx((-one.interval[1], -one.interval[0])))
    assert other.detectable == one.detectable


@given(PAIRS)
def test_a_diverged_training_is_written_in_several_ways(pairs: list[tuple[float, float]]) -> None:
    candidate, baseline = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    nones = [None if math.isnan(value) else value for value in candidate]
    infinite = [math.inf if math.isnan(value) else value for value in candidate]
    judged = judge(candidate, baseline, "minimize")
    assert same(judged, judge(nones, baseline, "minimize"))
    assert same(judged, judge(infinite, baseline, "minimize"))


@given(st.lists(st.tuples(FLOATS, FLOATS), max_size=26))
def test_better_turned_round_is_worse(pairs: list[tuple[float, float]]) -> None:
    candidate, baseline = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    if judge(candidate, baseline, "minimize").outcome in ("better", "identical"):
        mirrored = judge(baseline, candidate, "minimize").outcome
        assert mirrored in ("worse", "identical", "no_difference")  # futility may stop it before


@given(PAIRS, st.sampled_from([FULL, SMALL]))
def test_a_plan_always_ends(pairs: list[tuple[float, float]], plan: Plan) -> None:
    candidate, baseline = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    judgement = judge(candidate, baseline, "minimize", plan)
    assert judgement.outcome or len(pairs) < plan.looks[-1]
    assert judgement.outcome is None or judgement.pairs in plan.looks
    for shorter in range(len(pairs)):  # as a study that is resumed sees them
        part = judge(candidate[:shorter], baseline[:shorter], "minimize", plan)
        assert part.outcome is None or same(part, judgement)


@pytest.mark.parametrize(
    ("gains", "outcome", "pairs"),
    [
        ([0.0] * 6, "pass", 6),
        (spread(6, 1.0, 0.1), "pass", 6),
        (spread(6, -0.5, 0.1), "pass", 6),  # worse, and by less than the margin
        (spread(6, -1.5, 0.1), "fail", 6),
        (spread(6, -1.0, 1.0), None, 6),
        (FAILED + spread(5, 1.0, 0.1), None, 6),  # a failure is no pass
    ],
)
def test_outcomes_of_the_gate(gains: list[float | None], outcome: str | None, pairs: int) -> None:
    judgement = gate(*pairs_with(gains), "minimize", 1.0)
    assert (judgement.outcome, judgement.pairs) == (outcome, pairs)


def test_a_gate_that_decides_nothing_is_inconclusive() -> None:
    last = Plan(1, 0, GATE.looks[-1:], GATE.bounds[-1:])
    assert gate(*pairs_with(spread(24, -0.6)), "minimize", 1.0, last).outcome == "fail"
    assert gate(*pairs_with(spread(24, -0.6, 2.0)), "minimize", 1.0, last).outcome == "inconclusive"
    assert gate(*pairs_with(FAILED * 14 + spread(10, 3.0)), "minimize", 1.0).outcome == "fail"


def test_arguments_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="two values; got 1 and 2"):
        judge([1.0], [1.0, 2.0], "minimize")
    with pytest.raises(ValueError, match="got 'max'"):
        judge([1.0], [1.0], "max")
    with pytest.raises(ValueError, match="got -1"):
        gate([1.0], [1.0], "minimize", -1)
    with pytest.raises(ValueError, match="at least two differences; got 1"):
        interval([1.0], 2.0)


def share(draw: NDArray[np.float64], plan: Plan, *outcomes: str) -> float:
    """The share of studies, one a row of gains, with one of these outcomes."""
    zeros = [0.0] * draw.shape[1]
    judged = [judge(list(-row), zeros, "minimize", plan).outcome for row in draw]
    return sum(outcome in outcomes for outcome in judged) / len(judged)


def test_error_rates() -> None:
    rng = np.random.default_rng(0)
    null = rng.standard_normal((1000, 24))
    for plan in (SMALL, FULL, GATE):
        bare = plan._replace(futility=())  # stopping for futility would hide a bound that is too low
        assert 0.015 < share(null[:, : plan.looks[-1]], bare, "better", "worse") < 0.05, plan
    assert share(null[:300] + 1, FULL, "better") > 0.9
    assert share(null[:300, :12] + 1, SMALL, "better") > 0.7
    skewed = (rng.gamma(4, size=(500, 24)) - 4) / 2  # of skewness 1
    assert share(skewed, FULL, "better") < 0.05
    assert share(-skewed, FULL, "better") < 0.05
