"""What settings explain, and the ranks of trials that were not trained to the end."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from adamtune.analysis.importance import Importance, by_importance, importance, standings
from tests.reports.records import trial


def searched(rng: np.random.Generator, trials: int) -> list[dict[str, Any]]:
    """Settings of a random search."""
    return [
        {
            "lr": 10 ** rng.uniform(-5, -1),
            "beta1": rng.uniform(0.5, 1),
            "width": int(rng.integers(1, 5)),
            "amsgrad": bool(rng.integers(2)),
            "schedule": str(rng.choice(["constant", "cosine", "linear"])),
        }
        for _ in range(trials)
    ]


def found(settings: list[dict[str, Any]], values: list[float]) -> dict[str, Importance]:
    ranks = [float(rank) for rank in stats.rankdata(values)]
    return {each.setting: each for each in importance(settings, ranks)}


def test_one_number_is_a_regression_on_ranks() -> None:
    rng = np.random.default_rng(0)
    x, ranks = rng.permutation(40).astype(float), rng.permutation(40).astype(float)
    (only,) = importance([{"lr": value} for value in x], list(ranks))
    residual = ranks - np.polyval(np.polyfit(x, ranks, 2), x)
    explained = 1 - residual.var() / ranks.var()
    assert only.share == pytest.approx(explained)
    # The F-test of both coefficients together: share / 2 over (1 - share) / 37.
    assert only.noise == pytest.approx(stats.f.isf(0.05, 2, 37) * 2 / 37 * (1 - explained))


def test_one_choice_is_an_analysis_of_variance() -> None:
    rng = np.random.default_rng(0)
    groups, ranks = np.repeat(["a", "b", "c"], 10), rng.permutation(30).astype(float)
    (only,) = importance([{"schedule": value} for value in groups], list(ranks))
    parts = [ranks[groups == name] for name in "abc"]
    between = sum(10 * (part.mean() - ranks.mean()) ** 2 for part in parts)
    assert only.share == pytest.approx(between / (30 * ranks.var()))
    assert (only.share > only.noise) == (stats.f_oneway(*parts).pvalue < 0.05)


def test_a_valley_of_the_learning_rate_is_found() -> None:
    rng = np.random.default_rng(0)
    settings = searched(rng, 64)
    values = [(math.log10(each["lr"]) + 3) ** 2 + 0.3 * rng.standard_normal() for each in settings]
    shares = found(settings, values)
    assert next(iter(shares)) == "lr"
    assert shares["lr"].noise < 0.2
    assert shares["lr"].share > 0.5
    assert all(each.share < each.noise for name, each in shares.items() if name != "lr")


def test_choices_and_flags_are_found() -> None:
    rng = np.random.default_rng(0)
    settings = searched(rng, 64)
    values = [
        (each["schedule"] == "cosine") + each["amsgrad"] + 0.3 * rng.standard_normal() for each in settings
    ]
    shares = found(settings, values)
    assert {name for name, each in shares.items() if each.share > each.noise} == {"schedule", "amsgrad"}


def test_noise_seldom_seems_to_matter() -> None:
    rng = np.random.default_rng(0)
    seeming = 0
    for _ in range(100):
        shares = found(searched(rng, 48), list(rng.standard_normal(48)))
        seeming += any(each.share > each.noise for each in shares.values())
    assert seeming <= 12  # 5 % of 100 are expected


def test_a_setting_that_varies_with_one_that_matters_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    settings = [{"lr": lr, "eps": lr + 0.5 * rng.standard_normal()} for lr in rng.standard_normal(200)]
    shares = found(settings, [each["lr"] + 0.5 * rng.standard_normal() for each in settings])
    assert shares["lr"].share > shares["lr"].noise
    assert shares["eps"].share < shares["eps"].noise


def test_a_setting_that_only_some_trials_have() -> None:
    rng = np.random.default_rng(0)
    settings: list[dict[str, Any]] = [{"schedule": name} for name in ["constant", "cosine"] * 40]
    for each in settings[1::2]:
        each["warmup"] = rng.uniform()
    noise = rng.standard_normal(80)
    values = [each.get("warmup", 0.5) + 0.1 * other for each, other in zip(settings, noise, strict=True)]
    shares = found(settings, values)
    assert shares["warmup"].share > 0.5
    assert shares["schedule"].share < 0.05


def test_what_cannot_be_told_apart_is_left_out() -> None:
    settings = [{"lr": float(each), "copy": 2.0 * each, "fixed": 1} for each in range(20)]
    assert importance(settings, list(map(float, range(20)))) == []
    assert importance([{"lr": 1.0}, {"lr": 2.0}], [0.0, 1.0]) == []
    assert importance([{"lr": float(each)} for each in range(20)], [3.0] * 20) == []
    assert importance([], []) == []


def test_ranks_of_complete_and_diverged_trials() -> None:
    trials = [trial(0, 0.3), trial(1, state="diverged"), trial(2, 0.1), trial(3, 0.2), trial(4, 0.2)]
    assert standings(trials, "minimize") == [3, 5, 0, 1, 1]
    assert standings(trials, "maximize") == [0, 5, 3, 1, 1]


def test_a_pruned_trial_is_ranked_among_those_at_its_step() -> None:
    trials = [
        trial(0, 0.1, intermediate={10: 0.9, 20: 0.1}),
        trial(1, 0.2, intermediate={10: 0.7, 20: 0.2}),
        trial(2, state="pruned", intermediate={10: 0.8}),
        trial(3, state="pruned", intermediate={5: 0.1}),  # better than all at step 5, with no other there
        trial(4, state="pruned", intermediate={10: 0.7, 20: 0.15}),
        trial(5, state="pruned", intermediate={15: 0.5}),  # evaluated at other steps
        trial(6, state="pruned", intermediate={}),
    ]
    assert standings(trials, "minimize") == [0, 1, 2, 0, 1, 0, 7]


def test_the_order_is_that_of_the_shares() -> None:
    generator = np.random.default_rng(0)
    settings = [{"lr": float(each), "eps": float(other)} for each, other in generator.random((40, 2))]
    ranks = [each["eps"] for each in settings]
    assert by_importance(settings, ranks) == ["eps", "lr"]
    assert by_importance(settings, ranks) == [each.setting for each in importance(settings, ranks)]
    assert by_importance([{}] * 20, ranks[:20]) == []


def test_the_interval_is_that_of_the_noncentral_f() -> None:
    rng = np.random.default_rng(0)
    x, noise = rng.uniform(size=60), rng.normal(0, 0.3, 60)
    (only,) = importance([{"lr": value} for value in x], list(stats.rankdata(x + noise)))
    freedom = (2, 57)
    unit = freedom[0] / freedom[1] * (1 - only.share)  # of an F of 1
    for bound, level in ((only.low, 0.975), (only.high, 0.025)):
        noncentrality = bound / unit * freedom[0]
        assert stats.ncf.cdf(only.share / unit, *freedom, noncentrality) == pytest.approx(level, abs=0.01)


def test_the_interval_of_a_setting_without_effect_begins_at_zero() -> None:
    rng = np.random.default_rng(2)
    (only,) = importance([{"lr": rng.uniform()} for _ in range(50)], list(map(float, range(50))))
    assert only.low == 0.0
    assert only.share < only.high < 0.3
