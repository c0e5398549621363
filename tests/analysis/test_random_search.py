"""The expected best of random search, from trials that were not drawn at random."""

from __future__ import annotations

from math import nan

import numpy as np
import pytest

from adamtune.analysis.random_search import Coordinate, expected_bests, shares


def test_the_lowest_of_n_draws() -> None:
    """Of two values with weights 1/4 and 3/4, n draws miss the lower one with probability (3/4)^n."""
    found = expected_bests([3.0, 1.0], [0.75, 0.25], [1, 2, 5])
    assert found == pytest.approx([1 + 2 * 0.75**n for n in (1, 2, 5)])


def test_it_is_the_mean_of_draws() -> None:
    rng = np.random.default_rng(0)
    values, weights = rng.normal(size=12), rng.dirichlet(np.ones(12))
    drawn = values[rng.choice(12, (200_000, 7), p=weights)].min(1).mean()
    assert expected_bests(list(values), weights, [7]) == pytest.approx([drawn], abs=0.01)


def test_a_trial_stands_for_the_points_nearest_to_it() -> None:
    found = shares([Coordinate([0.1, 0.3, 0.9])])
    assert found == pytest.approx([0.2, 0.4, 0.4], abs=0.03)
    found = shares([Coordinate([0, 1, 1, 2], choices=4), Coordinate([0.5, 0.2, 0.8, nan])])
    assert found.sum() == pytest.approx(1)
    assert found[1] == pytest.approx(found[2], abs=0.05)


def test_trials_that_crowd_around_the_best_do_not_make_random_search_better() -> None:
    rng = np.random.default_rng(1)
    crowded = np.concatenate([rng.uniform(size=20), rng.normal(0.7, 0.02, 80)])
    values = (crowded - 0.7) ** 2
    (found,) = expected_bests(list(values), shares([Coordinate(list(crowded))]), [3])
    true = ((rng.uniform(size=(100_000, 3)) - 0.7) ** 2).min(1).mean()
    assert found == pytest.approx(true, rel=0.25)
    (unweighted,) = expected_bests(list(values), np.full(100, 0.01), [3])
    assert unweighted < true / 5
