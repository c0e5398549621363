"""Trainings of different lengths are compared by the part of the training that is done."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import optuna
import pytest
from optuna.storages import InMemoryStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from adamtune.config import StudyConfig
from adamtune.search.pruners import OF_TENTHS, TENTHS, TenthsStorage, pruning_study
from adamtune.search.samplers.history import TrialHistory
from adamtune.search.trial import Tasks
from adamtune.tasks.base import evaluation_interval

from .studies import ended, in_optuna, interrupt, searched, study, trials

LR = {"low": 1e-3, "high": 1e-1, "log": True}
LENGTHS: dict[str, dict[str, Any]] = {
    "batch_size": {"task": {"batch_size": [32, 64, 128]}},
    "epochs": {"task": {"epochs": [2, 5, 20]}},
}
STEPS = {32: 8, 64: 4, 128: 2}
"""Optimizer steps of an epoch, by batch size."""


def file(folder: Path, pruner: str, setting: str = "batch_size", **search: Any) -> StudyConfig:
    return study(
        folder,
        search={"trials": 40, "pruner": pruner} | search,
        space={"lr": LR} | LENGTHS[setting],
        task={"epochs": 10},
        engine="sequential",
    )


Search = Callable[[str, str], StudyConfig]


@pytest.fixture(scope="module")
def search(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Search:
    """Runs the ``file`` of a pruner and a setting, once."""

    @cache
    def find(pruner: str, setting: str) -> StudyConfig:
        folder = tmp_path_factory.mktemp("parts")
        shutil.copy(empty_database, folder / "studies.db")
        searched(config := file(folder, pruner, setting))
        return config

    return find


def steps_of(trial: dict[str, Any]) -> int:
    settings = trial["settings"]
    return int(settings.get("epochs", 10)) * STEPS[settings.get("batch_size", 128)]


def tenths(trial: dict[str, Any]) -> dict[int, float]:
    """The trial's values by the tenths of its training that are done."""
    return {10 * step // steps_of(trial): value for step, value in trial["intermediate"].items()}


def test_no_two_evaluations_are_in_the_same_tenth() -> None:
    for total in range(1, 400):
        every = evaluation_interval(total)
        found = [TENTHS * step // total for step in (*range(every, total, every), total)]
        assert found == sorted(set(found)), total
        assert (found[0] >= 1, found[-1]) == (True, TENTHS), total


@pytest.mark.parametrize("setting", LENGTHS)
def test_asha_compares_equal_parts_of_trainings(setting: str, search: Search) -> None:
    """Each trial is compared at 1, 3 and 9 tenths with those that came there before, whatever its length."""
    done = trials(search("asha", setting))
    rungs: dict[int, list[float]] = {1: [], 3: [], 9: []}
    for each in done:
        stopped = None
        values = tenths(each)
        for rung, others in rungs.items():
            reached = min((tenth for tenth in values if tenth >= rung), default=None)
            if stopped is None and reached is not None and reached < TENTHS:
                others.append(values[reached])
                if sorted(others).index(others[-1]) >= max(1, len(others) // 3):
                    stopped = reached
        assert (each["state"] == "pruned") == (stopped is not None), each["number"]
        assert max(values) == (stopped or TENTHS)
    assert len({steps_of(each) for each in done}) == 3
    assert len({max(tenths(each)) for each in done}) >= 3


@pytest.mark.parametrize("setting", LENGTHS)
def test_the_median_is_of_equal_parts_of_trainings(setting: str, search: Search) -> None:
    complete: list[dict[int, float]] = []
    pruned = 0
    for each in trials(search("median", setting)):
        values = tenths(each)
        for tenth in values:
            others = [other[tenth] for other in complete if tenth in other]
            best = min(value for at, value in values.items() if at <= tenth)
            worse = 1 < tenth < TENTHS and len(complete) >= 5 and bool(others) and best > median(others)
            assert worse == (each["state"] == "pruned" and tenth == max(values)), (each["number"], tenth)
        if each["state"] == "complete":
            complete.append(values)
        else:
            pruned += 1
    assert pruned >= 3


@pytest.mark.parametrize("pruner", ["asha", "hyperband", "median"])
def test_no_length_is_pruned_as_a_class(pruner: str, search: Search) -> None:
    """Equal trainings cut into more steps have no disadvantage: the best class is not pruned whole."""
    done = trials(search(pruner, "batch_size"))
    best = min(done, key=lambda each: each["value"])["settings"]["batch_size"]
    states = Counter(each["state"] for each in done if each["settings"]["batch_size"] == best)
    assert states["complete"] >= 1


@pytest.mark.parametrize(
    ("pruner", "sampler"),
    [
        *(("asha", "tpe"), ("hyperband", "qmc"), ("median", "qmc")),
        *(pytest.param(*each, marks=pytest.mark.slow) for each in (("hyperband", "tpe"), ("median", "tpe"))),
    ],
)
def test_a_resumed_study_prunes_the_same(pruner: str, sampler: str, folder: Path, another: Path) -> None:
    for done in (7, 19):
        interrupt(file(folder, pruner, sampler=sampler), done)
    assert searched(file(folder, pruner, sampler=sampler)) == searched(file(another, pruner, sampler=sampler))


def test_the_stored_values_are_at_optimizer_steps(search: Search) -> None:
    for trial in in_optuna(search("asha", "batch_size")):
        total = 10 * STEPS[trial.user_attrs["settings"]["batch_size"]]
        assert set(trial.intermediate_values) <= {*range(0, total, evaluation_interval(total)), total}


def test_trainings_of_one_length_are_compared_by_their_steps() -> None:
    """Stored rungs keep their meaning."""
    config = study(Path(), search={"pruner": "asha"}, space={"lr": LR, "task": {"hidden": [[4], [8]]}})
    own = optuna.create_study(study_name="s")
    assert pruning_study(config, own, Tasks(config))._storage is own._storage


def test_rungs_of_an_older_version_are_not_compared() -> None:
    """They are at optimizer steps; new ones have a name of their own."""
    storage = InMemoryStorage()
    study_id = storage.create_new_study([StudyDirection.MINIMIZE], "s")
    trial_id = storage.create_new_trial(study_id)
    storage.set_trial_intermediate_value(trial_id, 30, 1.0)
    storage.set_trial_system_attr(trial_id, "completed_rung_0", 1.0)
    storage.set_trial_system_attr(trial_id, "cma:generation", 2)
    view: Any = TenthsStorage(storage, lambda trial: 100)
    assert view.get_trial(trial_id).intermediate_values == {3: 1.0}
    assert view.get_trial(trial_id).system_attrs == {"cma:generation": 2}
    view.set_trial_system_attr(trial_id, "completed_rung_0", 2.0)
    (shown,) = Study("s", view).get_trials()
    assert shown.system_attrs["completed_rung_0"] == 2.0
    (stored,) = storage.get_all_trials(study_id)
    assert stored.system_attrs["completed_rung_0"] == 1.0
    assert stored.system_attrs["completed_rung_0" + OF_TENTHS] == 2.0
    assert stored.intermediate_values == {30: 1.0}


def test_tpe_ranks_pruned_trials_by_the_part_that_is_done() -> None:
    """A trial that has done half of a short training is before one that has done a tenth of a long one."""
    ranked = [
        ended(0, TrialState.PRUNED, intermediate_values={100: 0.1}, user_attrs={"total": 1000}),
        ended(1, TrialState.PRUNED, intermediate_values={5: 0.9}, user_attrs={"total": 10}),
    ]

    def total(trial: FrozenTrial) -> int:
        return int(trial.user_attrs["total"])

    history = TrialHistory(StudyDirection.MINIMIZE, total)
    history.update(ranked)
    good, others = history.split()
    assert [each.number for each in good] == [1]
    assert [each.number for each in others] == [0]
