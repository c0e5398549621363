"""The choice of the candidate, and the trials tied with the best."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from adamtune.analysis.finalists import choose, ties


@pytest.mark.parametrize(
    ("finalists", "direction", "chosen"),
    [
        ({7: [1.0, 3.0], 3: [1.0, 1.0]}, "minimize", 3),
        ({7: [1.0, 3.0], 3: [1.0, 1.0]}, "maximize", 7),
        ({7: [1.0, 2.0], 3: [2.0, 1.0]}, "minimize", 3),
        ({7: [5.0, 5.0], 3: [1.0, None]}, "minimize", 7),
        ({7: [5.0, 5.0], 3: [9.0, math.inf]}, "maximize", 7),
        ({7: [math.nan, 1.0], 3: [1.0, None]}, "minimize", None),
        ({7: []}, "minimize", 7),
        ({}, "minimize", None),
    ],
)
def test_the_candidate(finalists: dict[int, list[float | None]], direction: str, chosen: int | None) -> None:
    assert choose(finalists, direction) == chosen


def test_ties_by_their_own_seeds() -> None:
    best = [0.50, 0.52, 0.49, 0.51, 0.53]
    near = [value + change for value, change in zip(best, [0.1, -0.1, 0.1, -0.1, 0.05], strict=True)]
    far = [value + change for value, change in zip(best, [0.1, 0.12, 0.1, 0.12, 0.11], strict=True)]
    trials = {4: near, 2: best, 9: far, 5: [0.1, 0.1, 0.1, 0.1, None]}
    assert ties(trials, "minimize") == (2, 4)
    assert ties(
        {number: [-value for value in values if value] for number, values in trials.items() if number != 5},
        "maximize",
    ) == (2, 4)


def test_the_level_of_a_tie() -> None:
    """One trial beats another by a one-sided paired t-test at .05 / (k - 1)."""
    lead = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    p = stats.ttest_1samp(lead, 0, alternative="greater").pvalue
    most = math.floor(0.05 / p)  # others that the level allows
    assert 3 < most < 20
    for others, kept in ((most, 1), (most + 1, 2)):
        far = {number: [10.0 + each for each in lead] for number in range(3, others + 2)}
        trials = {1: [0.0] * 6, 2: lead, **far}
        assert len([each for each in ties(trials, "minimize") if each < 3]) == kept


def test_ties_of_one_seed_each_by_the_noise_of_pairs() -> None:
    trials = {0: [1.0], 1: [1.2], 2: [1.3]}
    bound = stats.t.ppf(1 - 0.05 / 2, 13)
    assert ties(trials, "minimize", 0.25 / bound, 14) == (0, 1)
    assert ties(trials, "minimize", 0.35 / bound, 14) == (0, 1, 2)
    two = {number: [values[0] - 0.1, values[0] + 0.1] for number, values in trials.items()}
    assert ties(two, "minimize", 0.25 / bound * math.sqrt(2), 14) == (0, 1)
    assert ties(two, "minimize", 0.35 / bound * math.sqrt(2), 14) == (0, 1, 2)
    assert ties({7: [1.0]}, "minimize") == (7,)
    assert ties({}, "minimize") == ()
    with pytest.raises(ValueError, match="at least two pairs"):
        ties(trials, "minimize")


def test_the_best_is_seldom_left_out() -> None:
    rng = np.random.default_rng(0)
    kept = [
        0
        in ties(
            {number: list(values) for number, values in enumerate(rng.standard_normal((6, 5)))}, "minimize"
        )
        for _ in range(500)
    ]
    assert sum(kept) > 465
