"""The uncertainty that rows add."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from adamtune.analysis.looks import FULL
from adamtune.analysis.paired import Judgement, judge
from adamtune.analysis.rows import with_rows

BETTER = judge([0.3, 0.4, 0.5, 0.4, 0.3, 0.5, 0.4, 0.4], [1.0] * 8, "minimize")
ROWS = list(np.random.default_rng(0).standard_normal(50) - 0.6)


def test_each_half_of_the_interval_grows() -> None:
    judgement = with_rows(BETTER, ROWS)
    half = stats.t.ppf(0.975, 49) * stats.sem(ROWS)
    assert BETTER.interval
    assert judgement.interval
    assert judgement.difference == BETTER.difference == pytest.approx(-0.6)
    low, high = (np.hypot(end + 0.6, half) for end in BETTER.interval)
    assert judgement.interval == pytest.approx((-0.6 - low, -0.6 + high))
    assert (judgement.rows, judgement.row_half_width) == (50, pytest.approx(half))
    assert judgement.outcome == "better"


def test_few_rows_confirm_nothing() -> None:
    judgement = with_rows(BETTER, [-5.0, 4.0, -0.8])
    assert BETTER.outcome == "better"
    assert judgement.outcome == "not_confirmed"


def test_what_was_not_found_before_is_not_found_with_rows() -> None:
    same = judge([0.3, 0.4] * 4, [0.4, 0.3] * 4, "minimize")
    assert with_rows(same, ROWS).outcome == same.outcome
    nothing = judge([None] * 8, [None] * 8, "minimize")
    assert with_rows(nothing, ROWS)[:3] == nothing[:3]


def test_one_row_has_no_spread() -> None:
    with pytest.raises(ValueError, match="below two of them; got 1"):
        with_rows(BETTER, [0.5])


def test_the_detectable_difference_is_found_four_times_in_five() -> None:
    """Pairs and rows are drawn with that true difference; a judgement without futility is made of them."""
    rng = np.random.default_rng(1)
    plan = FULL._replace(looks=(24,), bounds=(2.069,), futility=())
    noise, parts = 0.5, 25

    def judged(truth: float) -> Judgement:
        rows = rng.standard_normal(parts) * 0.5
        gains = truth + rows.mean() + noise * rng.standard_normal(24)
        return with_rows(judge(list(-gains), [0.0] * 24, "minimize", plan), list(-truth - rows))

    detectable = float(np.median([judged(0.0).detectable or 0.0 for _ in range(200)]))
    found = np.mean([judged(detectable).outcome == "better" for _ in range(1000)])
    assert 0.74 < found < 0.86
