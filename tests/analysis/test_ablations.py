"""The effects of single settings, and Holm's method."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from adamtune.analysis.ablations import holm, paired_effects

WINNER = [0.50, 0.52, 0.49, 0.51, 0.53, 0.50, 0.48, 0.52, 0.51, 0.50]


def test_holm_by_hand() -> None:
    # Sorted .005, .01, .03, .04 are multiplied by 4, 3, 2, 1, and none may be below one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_effects_of_settings() -> None:
    rng = np.random.default_rng(0)
    lr = [value + 0.1 + 0.01 * noise for value, noise in zip(WINNER, rng.standard_normal(10), strict=True)]
    beta = [value + 0.01 * noise for value, noise in zip(WINNER, rng.standard_normal(10), strict=True)]
    first, second = paired_effects(WINNER, {"lr": lr, "beta1": beta})
    assert (first.setting, second.setting) == ("lr", "beta1")
    assert first.difference == pytest.approx(0.1, abs=0.01)
    assert first.p == pytest.approx(2 * stats.ttest_rel(lr, WINNER).pvalue)
    assert second.p == pytest.approx(stats.ttest_rel(beta, WINNER).pvalue)
    assert first.interval
    assert second.interval
    assert 0.08 < first.interval[0] < 0.1 < first.interval[1] < 0.12
    assert second.interval[0] < 0 < second.interval[1]


def test_a_setting_that_diverges_when_put_back() -> None:
    values = [None, math.nan, math.inf, *WINNER[3:]]
    (effect,) = paired_effects(WINNER, {"lr": values})
    assert (effect.n, effect.failures, effect.difference, effect.p) == (7, 3, 0.0, 1.0)
    (effect,) = paired_effects(WINNER, {"lr": [None] * 6 + WINNER[6:]})
    assert effect == ("lr", None, None, 4, None, 6)


def test_a_test_that_is_not_made_counts_for_nothing() -> None:
    lr = [value + 0.001 * number for number, value in enumerate(WINNER)]
    alone, together = (paired_effects(WINNER, {"lr": lr, **rest})[0] for rest in ({}, {"eps": [None] * 10}))
    assert together == alone


def test_the_same_change_with_every_seed_is_no_chance() -> None:
    (effect,) = paired_effects([0.5] * 10, {"lr": [0.75] * 10})
    assert (effect.difference, effect.interval, effect.p) == (0.25, (0.25, 0.25), 0.0)
