"""A grid over settings of the task, too: as many trials as there are combinations, and each one once."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from adamtune.config import StudyConfig
from adamtune.search.run import run
from adamtune.search.suggestions import grid

from .studies import ENGINES, interrupt, searched, study

SPACE: dict[str, Any] = {
    "lr": [0.01, 0.1],
    "schedule": {"name": ["constant", "step"], "drops": [1, 2]},
    "task": {"hidden": [[4], [4, 4]], "batch_size": [64, 128]},
}
SCHEDULES = [("constant", None), ("step", 1), ("step", 2)]
EXPECTED = {
    json.dumps([lr, *schedule, hidden, batch_size])
    for lr, schedule, hidden, batch_size in product(
        SPACE["lr"], SCHEDULES, SPACE["task"]["hidden"], SPACE["task"]["batch_size"]
    )
}
"""Written out, apart from the code that is tested."""


def of(folder: Path, trials: int = 1000, **more: Any) -> StudyConfig:
    search = {"sampler": "grid", "trials": trials}
    return study(folder, search=search, space=SPACE, task={"epochs": 2}, **more)


def key(settings: dict[str, Any]) -> str:
    """A trial's combination; a schedule without drops has none."""
    drops = settings.get("drops")
    return json.dumps(
        [settings["lr"], settings["schedule"], drops, list(settings["hidden"]), settings["batch_size"]]
    )


def test_settings_of_the_task_count_as_combinations() -> None:
    file = of(Path())
    assert len(EXPECTED) == 24
    assert file.space.combinations == file.trials == 24
    assert len(list(grid(file.space))) == 24
    assert of(Path(), trials=23).trials == 23


@pytest.mark.parametrize(
    ("task", "count"),
    [({"hidden": [[4], [8], [4, 4]]}, 3), ({"hidden": [[4], [8]], "batch_size": [32, 64]}, 4), ({}, 1)],
)
def test_a_grid_of_the_task_alone(task: dict[str, Any], count: int) -> None:
    space = {"lr": 0.1} | ({"task": task} if task else {})
    file = study(Path(), search={"sampler": "grid"}, space=space)
    assert file.space.combinations == len(list(grid(file.space))) == count


def test_optimizers_share_the_settings_of_the_task() -> None:
    """Each optimizer has the combinations of its own hyperparameters, times the task's."""
    file = study(
        Path(), optimizer=["sgd", "adam"], search={"sampler": "grid"},
        space={"lr": [0.01, 0.1], "beta1": [0.8, 0.9, 0.95], "task": {"hidden": [[4], [8]]}},
    )  # fmt: skip
    assert file.space.combinations == len(list(grid(file.space))) == (2 + 2 * 3) * 2


@pytest.mark.parametrize("engine", ENGINES)
def test_every_combination_is_trained_once(engine: str, folder: Path) -> None:
    file = of(folder, **ENGINES[engine])
    done = searched(file)
    assert len(done) == 24
    assert {key(each["settings"]) for each in done} == EXPECTED
    outcome = run(file, lambda progress: None)
    assert (outcome.reason, outcome.progress.total, outcome.progress.done) == ("already_complete", 24, 24)


def test_every_combination_is_trained_once_over_interruptions(folder: Path) -> None:
    file = of(folder, population=5)
    for done in (4, 17):
        interrupt(file, done)
    done_in_the_end = searched(file)
    assert len(done_in_the_end) == 24
    assert {key(each["settings"]) for each in done_in_the_end} == EXPECTED
