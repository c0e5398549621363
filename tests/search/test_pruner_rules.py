"""Which trials each pruner stops, and when: in studies in memory, and in searches gone over again by hand."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import optuna
import pytest

from adamtune.search.pruners import pruner

from .studies import searched, study

EVERY, STEPS = 10, 100
"""A training of ten evaluations."""


def told(own: optuna.Study, values: list[float], every: int = EVERY) -> int | None:
    """A trial that reports these, each ``every`` steps; the step it was stopped at, None if it was not."""
    trial = own.ask()
    for number, value in enumerate(values, start=1):
        trial.report(value, number * every)
        if trial.should_prune():
            own.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return number * every
    own.tell(trial, values[-1])
    return None


def new(name: str, direction: str = "minimize") -> optuna.Study:
    return optuna.create_study(study_name="s", direction=direction, pruner=pruner(name, STEPS))


# Median


@pytest.mark.parametrize(("complete", "stopped"), [(0, None), (4, None), (5, 2 * EVERY), (6, 2 * EVERY)])
def test_median_begins_at_the_second_evaluation_when_five_are_complete(
    complete: int, stopped: int | None
) -> None:
    own = new("median")
    for _ in range(complete):
        assert told(own, [1.0] * 10) is None
    assert told(own, [2.0] * 10) == stopped


def test_median_counts_trials_that_were_pruned_not_as_complete() -> None:
    own = new("median")
    for _ in range(4):
        told(own, [1.0] * 10)
    trial = own.ask()
    trial.report(1.0, 2 * EVERY)
    own.tell(trial, state=optuna.trial.TrialState.PRUNED)
    assert told(own, [2.0] * 10) is None


@pytest.mark.parametrize(("direction", "sign"), [("minimize", 1.0), ("maximize", -1.0)])
def test_median_stops_what_is_worse_than_the_median_at_that_step(direction: str, sign: float) -> None:
    own = new("median", direction)
    for value in (1.0, 2.0, 3.0, 4.0, 5.0):
        assert told(own, [sign * 99.0, sign * (value + 10), *[sign * value] * 8]) is None
    assert told(own, [sign * 13.1] * 10) == 2 * EVERY
    assert told(own, [sign * 12.9, sign * 13.1, sign * 3.1]) == 3 * EVERY
    assert told(own, [sign * 12.9, *[sign * 2.9] * 9]) is None


# Successive halving


@pytest.mark.parametrize(("direction", "sign"), [("minimize", 1.0), ("maximize", -1.0)])
@pytest.mark.parametrize("before", [2, 8, 11])
def test_asha_lets_the_best_third_of_a_rung_go_on(before: int, direction: str, sign: float) -> None:
    """One trial comes to a rung that others came to before; it has each place among them in turn."""
    goes_on = []
    for place in range(before + 1):
        own = new("asha", direction)
        for value in range(before):
            told(own, [sign * value])
        goes_on.append(told(own, [sign * (place - 0.5)]) is None)
    third = (before + 1) // 3
    assert goes_on == [True] * third + [False] * (before + 1 - third)


def test_asha_has_rungs_at_the_first_evaluation_and_at_three_and_nine_times_its_step() -> None:
    """Trials that are good until some evaluation and hopeless from there on are stopped at the next rung."""
    found = {}
    for turn in range(1, 11):
        own = new("asha")
        assert told(own, [0.0] * 10) is None
        found[turn] = told(own, [*[0.0] * (turn - 1), *[9.0] * (11 - turn)])
    assert found == {1: 10, 2: 30, 3: 30, **dict.fromkeys(range(4, 10), 90), 10: None}


def test_hyperband_has_a_bracket_that_begins_at_each_rung() -> None:
    """Ever worse trials are stopped where their bracket begins, though nobody has come to the end before."""
    own = optuna.create_study(study_name="s", pruner=pruner("hyperband", STEPS))
    found = [told(own, [float(number)] * 9) for number in range(40)]
    assert {step for step in found if step is not None} == {10, 30, 90}
    assert found.count(None) == 3  # the first of each bracket


# Searches


TASK = {"epochs": 20}
"""Forty steps, an evaluation after every fourth."""
LR = {"low": 1e-3, "high": 1e-1, "log": True}


def test_a_search_is_pruned_by_the_median(folder: Path) -> None:
    """One trial after the other: each is compared with those that were complete before it."""
    search = {"trials": 24, "pruner": "median"}
    done = searched(study(folder, engine="sequential", task=TASK, search=search, space={"lr": LR}))
    complete: list[dict[int, float]] = []
    for each in done:
        reported: dict[int, float] = each["intermediate"]
        assert list(reported) == list(range(4, each["steps"] + 1, 4))
        stopped = [
            step
            for step in reported
            if 4 < step < 40
            and len(complete) >= 5
            and min(value for at, value in reported.items() if at <= step)
            > median(other[step] for other in complete)
        ]
        if each["state"] == "pruned":
            assert stopped == [each["steps"]], each["number"]
        else:
            assert stopped == [], each["number"]
            complete.append(reported)
    assert 6 <= len(complete) <= 18


def test_a_search_is_pruned_by_successive_halving(folder: Path) -> None:
    """One trial after the other: each is compared with those that came to the rung before it."""
    search = {"trials": 40, "pruner": "asha"}
    done = searched(study(folder, engine="sequential", task=TASK, search=search, space={"lr": LR}))
    rungs: dict[int, list[float]] = {4: [], 12: [], 36: []}
    for each in done:
        stopped = None
        for step, others in rungs.items():
            if stopped is None:
                others.append(each["intermediate"][step])
                if sorted(others).index(others[-1]) >= max(1, len(others) // 3):
                    stopped = step
        assert each["steps"] == (stopped or 40), each["number"]
        assert each["state"] == ("pruned" if stopped else "complete")
    assert len(rungs[4]) == 40
    assert 40 / 3 <= len(rungs[12]) < 40
    assert {each["steps"] for each in done} >= {4, 12, 40}
