from __future__ import annotations

from math import inf

import pytest

from adamtune.analysis.ranking import in_order, rank

from ..reports.records import mixed, study, trial


def test_complete_first_by_value_then_the_rest_by_number() -> None:
    ranking = rank(mixed())
    assert [(row.rank, row.trial.number) for row in ranking.rows] == [
        (1, 2),
        (2, 6),
        (3, 0),
        (None, 1),
        (None, 3),
        (None, 4),
        (None, 5),
    ]
    assert ranking.counts == {"complete": 3, "pruned": 1, "diverged": 1, "failed": 1, "running": 1}


def test_trials_of_one_number_are_shown() -> None:
    """As in a database that another program wrote to."""
    assert len(rank(study(trial(0, 0.5), trial(0, 0.5), trial(0, None))).rows) == 3


@pytest.mark.parametrize(("direction", "best"), [("minimize", 1), ("maximize", 2)])
def test_best_follows_the_direction(direction: str, best: int) -> None:
    ranking = rank(study(trial(0, 0.5), trial(1, 0.25), trial(2, 0.75), direction=direction))
    assert ranking.best is not None
    assert ranking.best.number == best


def test_infinity_ranks_last() -> None:
    ranking = rank(study(trial(0, inf), trial(1, 1e9)))
    assert [row.trial.number for row in ranking.rows] == [1, 0]


@pytest.mark.parametrize("trials", [(), (trial(0, state="diverged"),)])
def test_no_best_without_a_complete_trial(trials: tuple[()]) -> None:
    assert rank(study(*trials)).best is None


def test_searched_settings_have_the_names_trained_with() -> None:
    assert rank(mixed()).searched == ("lr", "beta1", "beta2", "eps", "weight_decay")


def test_settings_in_the_order_of_the_catalogs() -> None:
    names = ("batch_size", "warmup_fraction", "schedule", "momentum", "lr", "optimizer", "lr")
    assert in_order(names) == ("optimizer", "lr", "momentum", "schedule", "warmup_fraction", "batch_size")
