"""Both sides of every comparison search the same space."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
import pytest

from adamtune.config import load_study, parse_study
from adamtune.search.suggestions import Suggestions
from benchmarks import plain_training
from benchmarks.processes import ROOT
from benchmarks.studies import TASKS, TRIALS, study_file

Distributions = dict[str, optuna.distributions.BaseDistribution]


def asked(objective: Callable[[optuna.Trial], Any]) -> Distributions:
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    objective(trial)
    return trial.distributions


def test_the_space_is_that_of_the_plain_script_and_of_the_configuration() -> None:
    ours = parse_study(study_file("cnn", {}, {}), "benchmark").space
    assert asked(lambda trial: Suggestions(ours).suggest(trial)) == asked(plain_training.suggest)
    assert ours == load_study(ROOT / "configs" / "digits-cnn.yaml").space


@pytest.mark.parametrize("task", TASKS)
def test_study_files_are_good(task: str) -> None:
    search = {"trials": TRIALS[task], "seed": 3, "sampler": "tpe", "pruner": "asha"}
    study = parse_study(study_file(task, {"batch_size": 16}, search, storage="x.db"), "benchmark")
    assert (study.task.name, study.task.settings["batch_size"]) == (task, 16)
    assert study.search.model_dump(include=set(search)) == search
    assert (study.storage, study.device, study.objective.metric) == ("x.db", "cpu", "val_loss")
