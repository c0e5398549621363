"""A search for the highest value: what is best, how trials are ranked, and what samplers learn."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

import optuna
import pytest
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection

from adamtune.analysis.ranking import rank
from adamtune.config import StudyConfig
from adamtune.search.notes import STARTUP_TRIALS
from adamtune.search.progress import Progress
from adamtune.search.run import run
from adamtune.search.samplers.per_trial import PerTrialSampler
from adamtune.search.suggestions import Suggestions
from adamtune.search.tracker import TOP
from adamtune.search.trial import Tasks
from adamtune.storage.studies import read_study

from .studies import ENGINES, WILD, Trials, interrupt, searched, study, trials

HIGHEST = {"metric": "val_r2"}
"""Of the mlp task: 1 - val_loss / the target's variance, so that it mirrors val_loss."""


def values(found: Trials) -> dict[int, float]:
    """Those of the complete trials, by number."""
    return {number: each["value"] for number, each in enumerate(found) if each["state"] == "complete"}


@pytest.mark.parametrize("engine", ENGINES)
def test_the_best_so_far_is_the_highest(engine: str, folder: Path) -> None:
    file = study(folder, objective=HIGHEST, search={"trials": 16}, **ENGINES[engine])
    told: list[Progress] = []
    searched(file, told.append)
    found: dict[int, float] = {}
    for progress in told:
        found |= {each.number: each.value for each in progress.last_batch if each.value is not None}
        assert progress.direction == "maximize"
        if found:
            assert progress.best is not None
            assert progress.best.value == max(found.values()) == found[progress.best.number]
            best = sorted(found.items(), key=lambda each: (-each[1], each[0]))[:TOP]
            assert [(each.number, each.value) for each in progress.top] == best
            assert progress.improvements[-1][1] == progress.best.value
            assert progress.improvements[-1][0] <= len(found)
    assert found == values(trials(file))
    assert max(found.values()) > found[0]


def test_a_search_that_goes_on_knows_its_highest(folder: Path) -> None:
    """Also one that has nothing left to do: the best is counted from the storage."""
    file = study(folder, objective=HIGHEST, engine="sequential")
    before = values(interrupt(file, 5))
    told: list[Progress] = []
    searched(file, told.append)
    assert told[0].best is not None
    assert told[0].best.value == max(before.values())
    outcome = run(file, told.append)
    assert outcome.reason == "already_complete"
    assert outcome.progress.best is not None
    assert outcome.progress.best.value == max(values(trials(file)).values())
    ended = [*enumerate(values(trials(file)).values(), start=1)]
    assert outcome.progress.improvements == tuple(
        (place, value) for place, value in ended if all(value > other for _, other in ended[: place - 1])
    )
    assert min(before.values()) < max(before.values())


def test_the_highest_is_ranked_first(folder: Path) -> None:
    file = study(folder, objective=HIGHEST, space={"lr": WILD}, search={"trials": 24}, population=6)
    outcome = run(file, lambda progress: None)
    record = read_study(file.storage, file.name)
    ranking = rank(record)
    ranked = [row.trial.value for row in ranking.rows if row.rank]
    assert record.direction == "maximize"
    assert ranked == sorted(values(trials(file)).values(), reverse=True)
    assert len(set(ranked)) > 1
    assert ranking.best is not None
    assert outcome.progress.best is not None
    assert ranking.best.number == outcome.progress.best.number


@pytest.mark.parametrize(
    ("sampler", "pruner"), [("tpe", "none"), ("tpe", "median"), ("tpe", "asha"), ("cmaes", "none")]
)
def test_a_metric_and_its_mirror_image_are_searched_alike(
    sampler: str, pruner: str, folder: Path, another: Path
) -> None:
    """The lowest loss is the highest R2, so that nothing but the values may differ."""

    def found(folder: Path, metric: str) -> tuple[Trials, int]:
        search = {"trials": 24, "sampler": sampler, "pruner": pruner}
        file = study(folder, objective={"metric": metric}, search=search, space={"lr": WILD}, population=6)
        best = run(file, lambda progress: None).progress.best
        assert best is not None
        return trials(file), best.number

    (lowest, one), (highest, other) = found(folder, "val_loss"), found(another, "val_r2")
    for low, high in zip(lowest, highest, strict=True):
        for what in ("settings", "state", "steps"):
            assert low[what] == high[what], (low["number"], what)
    assert one == other
    assert len({each["state"] for each in lowest}) > 1


@pytest.mark.parametrize("name", ["tpe", "gp", "cmaes"])
def test_models_learn_what_is_high(name: str) -> None:
    """The objective is lr itself, so later trials have larger ones than blind ones."""
    space = {"lr": {"low": 0.01, "high": 1.0}, "momentum": {"low": 0.0, "high": 0.9}}
    file = study(Path(), search={"sampler": name}, objective=HIGHEST, space=space)
    found = [1 - each["lr"] for each in suggestions(file, 30)]
    assert fmean(found[-10:]) < fmean(found[:STARTUP_TRIALS]) / 2


def suggestions(file: StudyConfig, count: int) -> list[dict[str, Any]]:
    """The settings of trials, of which each one's lr is its value, in a new study in memory."""
    storage = InMemoryStorage()
    storage.create_new_study([StudyDirection.MAXIMIZE], "s")
    found: list[dict[str, Any]] = []
    own = optuna.Study("s", storage, PerTrialSampler(file, Tasks(file).steps, lambda: len(found)))
    for _ in range(count):
        trial = own.ask()
        settings = Suggestions(file.space).suggest(trial)
        own.tell(trial, settings["lr"])
        found.append(settings)
    return found
