"""From suggestions to settings: what the chosen optimizer and schedule have, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import Trial

from adamtune.config import StudyConfig
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.schedules.registry import SCHEDULES
from adamtune.search.suggestions import Suggestions

from .studies import searched, study


def asked(file: StudyConfig, count: int) -> list[tuple[Trial, dict[str, Any]]]:
    """Random trials and their settings."""
    own = optuna.create_study(sampler=RandomSampler(seed=0))
    trials = [own.ask() for _ in range(count)]
    return [(trial, Suggestions(file.space).suggest(trial)) for trial in trials]


@pytest.fixture(scope="module")
def everything() -> StudyConfig:
    """All optimizers and all schedules, each with something to search of its own."""
    return study(
        Path(),
        optimizer=list(OPTIMIZERS),
        space={
            "lr": {"low": 1e-4, "high": 1e-1, "log": True},
            "one_minus_beta1": {"low": 0.01, "high": 0.5, "log": True},
            "beta2": [0.99, 0.999],
            "momentum": {"low": 0.0, "high": 0.9},
            "amsgrad": [True, False],
            "schedule": {"name": list(SCHEDULES), "power": [1, 2], "drops": {"low": 1, "high": 3}},
        },
    )


def test_settings_are_those_of_the_chosen_optimizer_and_schedule(everything: StudyConfig) -> None:
    chosen = set()
    for trial, settings in asked(everything, 400):
        optimizer, schedule = settings["optimizer"], settings["schedule"]
        chosen |= {optimizer, schedule}
        own = [*OPTIMIZERS[optimizer].defaults, *SCHEDULES[schedule].defaults]
        assert list(settings) == [
            "optimizer",
            *OPTIMIZERS[optimizer].defaults,
            "schedule",
            *SCHEDULES[schedule].defaults,
        ]
        searched = ("lr", "beta1", "beta2", "momentum", "amsgrad", "power", "drops")
        asked_for = {"one_minus_beta1" if name == "beta1" else name for name in searched if name in own}
        assert trial.params.keys() == {"optimizer", "schedule"} | asked_for
    assert chosen == OPTIMIZERS.keys() | SCHEDULES.keys()


def test_values_are_as_searched_or_the_catalogs(everything: StudyConfig) -> None:
    for trial, settings in asked(everything, 100):
        entries = (OPTIMIZERS[settings["optimizer"]], SCHEDULES[settings["schedule"]])
        for name, default in (pair for entry in entries for pair in entry.defaults.items()):
            if name == "beta1":
                assert settings[name] == pytest.approx(1 - trial.params["one_minus_beta1"], abs=1e-15)
            else:
                assert settings[name] == trial.params.get(name, default)
        assert json.loads(json.dumps(settings)) == settings


def test_a_list_of_a_task_survives_storage(folder: Path) -> None:
    """Optuna's categories are scalars, so a list is kept as text there; the settings hold the list."""
    file = study(folder, space={"lr": 0.01, "task": {"hidden": [[4], [4, 4], []], "batch_size": [64, 128]}})
    done = searched(file)
    for each in done:
        hidden = each["settings"]["hidden"]
        assert isinstance(hidden, list)
        assert each["params"]["hidden"] == json.dumps(hidden)
        assert each["steps"] == {64: 20, 128: 10}[each["settings"]["batch_size"]]
    assert {len(each["settings"]["hidden"]) for each in done} == {0, 1, 2}


def test_settings_of_finished_trials_are_complete(folder: Path) -> None:
    """A trial could be trained from its settings alone."""
    file = study(folder, optimizer=["adamw", "rmsprop"], space={"lr": 0.01, "schedule": ["wsd", "cosine"]})
    for each in searched(file):
        settings = each["settings"]
        own = OPTIMIZERS[settings["optimizer"]].defaults | SCHEDULES[settings["schedule"]].defaults
        assert settings.keys() == own.keys() | {"optimizer", "schedule"}
        assert all(settings[name] == value for name, value in own.items() if name != "lr")
