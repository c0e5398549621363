"""What becomes of a trial: replicates, divergence, searched settings of the task."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from adamtune.analysis.ranking import rank
from adamtune.config import StudyConfig
from adamtune.engines.base import Evaluation, Member
from adamtune.engines.population.engine import Population
from adamtune.errors import UsageError
from adamtune.reports.files import to_json
from adamtune.search.trial import RunningTrial, Tasks, members
from adamtune.storage.studies import read_study
from adamtune.tasks.loaded import LoadedTask

from .studies import ENGINES, WILD, in_optuna, interrupt, searched, study

STEPS = 10


# Replicates


@pytest.mark.parametrize("engine", ENGINES)
def test_the_value_is_the_mean_over_replicates(engine: str, folder: Path) -> None:
    done = searched(study(folder, search={"seeds": 3}, **ENGINES[engine]))
    assert len(done) == 8
    for each in done:
        assert len(set(each["seeds"])) == 3
        assert each["value"] == fmean(each["seeds"]) == each["intermediate"][STEPS]
        assert each["metrics"]["val_loss"] == each["value"]
        assert list(each["intermediate"]) == list(range(1, STEPS + 1))


def test_the_first_replicate_is_the_one_there_would_be_alone(folder: Path, another: Path) -> None:
    several = searched(study(folder, search={"seeds": 3}, engine="sequential"))
    alone = searched(study(another, engine="sequential"))
    assert [each["seeds"][0] for each in several] == [each["value"] for each in alone]
    assert [each["settings"] for each in several] == [each["settings"] for each in alone]


def build(tasks: Tasks, settings: dict[str, Any]) -> LoadedTask:
    """The task of a trial with these settings."""
    return tasks.of(settings)


def member(file: StudyConfig, settings: dict[str, Any]) -> list[Member]:
    return members(file, 0, settings, build(Tasks(file), {}))


def test_one_diverging_replicate_makes_the_trial_diverged(folder: Path) -> None:
    """The earliest step counts; metrics of the others are not kept, for they say nothing of the settings."""
    own = optuna.create_study()
    trial = own.ask()
    settings = {"optimizer": "sgd", "schedule": "constant", "lr": 0.1, "momentum": 0.0, "dampening": 0.0}
    settings |= {"nesterov": False, "weight_decay": 0.0, "warmup_fraction": 0.0}
    file = study(folder, search={"seeds": 3})
    training = RunningTrial(trial, member(file, settings))
    first, second, third = training.members

    def found(each: Member, step: int, at: int | None) -> Evaluation:
        return Evaluation(each, step, {} if at else {"val_loss": 1.0}, at, False, 0.25)

    assert training.record(own, "val_loss", [found(each, 1, None) for each in training.members]) is None
    ended = [found(first, 5, None), found(second, 5, 4), found(third, 5, 3)]
    assert training.record(own, "val_loss", ended) == TrialState.PRUNED
    (kept,) = own.trials
    assert (kept.state, kept.value, kept.user_attrs["diverged_at"]) == (TrialState.PRUNED, None, 3)
    assert kept.user_attrs == {"diverged_at": 3, "steps": 3, "seconds": 1.5, "outcome": "diverged"}
    assert kept.intermediate_values == {1: 1.0}


# Divergence


@pytest.mark.parametrize(("engine", "seeds"), [("population", 3), ("sequential", 1)])
def test_diverged_trials_have_a_step_and_no_value(engine: str, seeds: int, folder: Path) -> None:
    file = study(folder, search={"trials": 24, "seeds": seeds}, space={"lr": WILD}, **ENGINES[engine])
    done = searched(file)
    states = [each["state"] for each in done]
    assert len(done) == 24
    assert states.count("complete") >= 5
    assert states.count("diverged") >= 5
    diverged = [each for each in done if each["state"] == "diverged"]
    for each in diverged:
        assert 1 <= each["diverged_at"] == each["steps"] <= STEPS
        assert (each["value"], each["metrics"], each["seeds"]) == (None, {}, [])
    assert len({each["diverged_at"] for each in diverged}) > 1
    assert all(
        each.state == TrialState.PRUNED for each in in_optuna(file) if "diverged_at" in each.user_attrs
    )


def test_diverged_trials_are_ranked_last(folder: Path) -> None:
    file = study(folder, search={"trials": 24, "pruner": "median"}, space={"lr": WILD}, population=4)
    searched(file)
    ranking = rank(read_study(file.storage, file.name))
    written = json.loads(to_json(ranking, ranking.rows))
    found = written["trials"]
    ranked = [each for each in found if each["state"] == "complete"]
    assert {"complete", "pruned", "diverged"} == {each["state"] for each in found}
    assert [each["rank"] for each in found] == [*range(1, len(ranked) + 1), *[None] * (24 - len(ranked))]
    assert [each["value"] for each in ranked] == sorted(each["value"] for each in ranked)
    assert all(each["value"] is None for each in found if each["state"] == "diverged")


@pytest.mark.parametrize(
    ("sampler", "trials"), [("tpe", 20), ("cmaes", 20), pytest.param("gp", 18, marks=pytest.mark.slow)]
)
def test_resuming_over_diverged_trials_changes_nothing(
    sampler: str, trials: int, folder: Path, another: Path
) -> None:
    def file(folder: Path) -> StudyConfig:
        search = {"trials": trials, "seeds": 2, "sampler": sampler}
        return study(folder, search=search, space={"lr": WILD}, population=8)

    for done in (5, 11):
        interrupt(file(folder), done)
    assert searched(file(folder)) == searched(file(another))


# Settings of the task


COHORTS = {
    "lr": {"low": 0.01, "high": 0.3, "log": True},
    "task": {"hidden": [[4], [8, 4]], "batch_size": [64, 128]},
}
BATCHES = {64: 4, 128: 2}


@pytest.mark.parametrize("engine", ENGINES)
def test_searched_task_settings_are_trained_side_by_side(engine: str, folder: Path, another: Path) -> None:
    def file(folder: Path) -> StudyConfig:
        return study(folder, space=COHORTS, search={"trials": 10, "seeds": 2}, **ENGINES[engine])

    interrupt(file(folder), 5)
    done = searched(file(folder))
    assert done == searched(file(another))
    settings = [each["settings"] for each in done]
    assert len({(str(each["hidden"]), each["batch_size"]) for each in settings}) == 4
    assert [each["steps"] for each in done] == [5 * BATCHES[each["batch_size"]] for each in settings]
    assert all(len(each["intermediate"]) in (9, 10) for each in done)


def test_members_of_equal_task_settings_share_one_task() -> None:
    tasks = Tasks(study(Path(), space=COHORTS))
    small = build(tasks, {"hidden": [4], "batch_size": 64, "lr": 0.1})
    assert build(tasks, {"hidden": [4], "batch_size": 64, "lr": 0.2}) is small
    assert build(tasks, {"hidden": [8, 4], "batch_size": 64}) is not small


def test_settings_that_do_not_fit_the_data_are_a_usage_error() -> None:
    tasks = Tasks(study(Path(), space=COHORTS))
    with pytest.raises(UsageError, match=r"(?s)task mlp: .*batch_size 10000 is more than the 282 tr"):
        build(tasks, {"batch_size": 10_000})


def test_a_trial_comes_to_the_same_whatever_is_trained_beside_it(folder: Path, another: Path) -> None:
    """But for the rounding of batched kernels."""
    found = [searched(study(folder, population=8)), searched(study(another, engine="sequential"))]
    for one, other in zip(*found, strict=True):
        assert one["settings"] == other["settings"]
        assert one["value"] == pytest.approx(other["value"], rel=1e-4)


def all_released(populations: Iterable[Population]) -> bool:
    return all(not each._groups for each in populations)


def test_every_slot_is_free_in_the_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those of replicates whose sibling diverged."""
    made: list[Population] = []
    build = Population.__init__

    def keeping(self: Population, *args: Any, **kwargs: Any) -> None:
        build(self, *args, **kwargs)
        made.append(self)

    monkeypatch.setattr(Population, "__init__", keeping)
    space = {"lr": {"low": 0.1, "high": 1e3, "log": True}}
    done = searched(
        study(folder, search={"trials": 24, "seeds": 3, "pruner": "asha"}, space=space, population=9)
    )
    assert {"diverged", "pruned", "complete"} <= {each["state"] for each in done}
    assert made
    assert all_released(made)
