"""In a space of finitely many combinations, none is trained twice, and the search ends after the last."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adamtune.config import StudyConfig
from adamtune.search.run import run

from .studies import ENGINES, SAMPLERS, interrupt, searched, study, trials

CHOICES: dict[str, Any] = {
    "lr": [0.001, 0.01, 0.1],
    "momentum": [0.0, 0.5],
    "task": {"hidden": [[4], [8]]},
}
"""Twelve combinations."""
INTEGERS: dict[str, Any] = {
    "lr": 0.01,
    "schedule": {"name": ["constant", "step"], "drops": {"low": 1, "high": 4}},
}
"""Five combinations, since the constant schedule has no drops."""


def file(folder: Path, sampler: str, trials: int, space: dict[str, Any], **more: Any) -> StudyConfig:
    return study(folder, search={"sampler": sampler, "trials": trials, "seed": 3}, space=space, **more)


def settings(done: list[dict[str, Any]]) -> list[str]:
    return [json.dumps(each["settings"], sort_keys=True) for each in done]


@pytest.mark.parametrize(
    ("sampler", "trials"), [("tpe", 9), ("tpe", 12), *((sampler, 30) for sampler in SAMPLERS)]
)
def test_no_choice_is_trained_twice(sampler: str, trials: int, folder: Path) -> None:
    done = searched(file(folder, sampler, trials, CHOICES, population=4))
    assert len(done) == len(set(settings(done))) == min(trials, 12)


@pytest.mark.parametrize("sampler", [each for each in SAMPLERS if each != "grid"])
def test_no_integer_is_trained_twice(sampler: str, folder: Path) -> None:
    config = file(folder, sampler, 64, INTEGERS)
    assert config.space.combinations == config.trials == 5
    done = searched(config)
    assert len(done) == len(set(settings(done))) == 5
    assert run(config, lambda progress: None).reason == "already_complete"


def test_real_numbers_are_not_counted() -> None:
    config = file(Path(), "tpe", 64, {"lr": {"low": 0.1, "high": 0.2}, "momentum": [0.0, 0.5]})
    assert config.space.combinations is None
    assert config.trials == 64


@pytest.mark.parametrize("sampler", ["tpe", pytest.param("gp", marks=pytest.mark.slow), "cmaes", "random"])
def test_interruptions_change_nothing(sampler: str, folder: Path, another: Path) -> None:
    for done in (3, 8):
        interrupt(file(folder, sampler, 12, CHOICES, population=4), done)
    whole = searched(file(another, sampler, 12, CHOICES, population=4))
    assert searched(file(folder, sampler, 12, CHOICES, population=4)) == whole


@pytest.mark.parametrize("engine", ENGINES)
def test_a_combination_that_failed_is_tried_again(engine: str, folder: Path) -> None:
    config = file(folder, "random", 12, CHOICES, **ENGINES[engine])
    interrupt(config, 5)
    assert run(config, lambda progress: None, abandon=True).reason == "complete"
    found = [each for each in trials(config) if each["state"] != "failed"]
    assert len(found) == len(set(settings(found))) == 12


@pytest.mark.parametrize("seeds", [1, 3])
def test_nothing_to_search_is_one_trial(seeds: int, folder: Path) -> None:
    config = study(folder, space={"lr": 0.01}, search={"trials": 8, "seeds": seeds, "sampler": "tpe"})
    outcome = run(config, lambda progress: None)
    assert outcome.progress.total == outcome.progress.done == 1
    assert "Nothing is searched: 1 trial is trained, not 8." in " ".join(outcome.progress.notes)
