"""What is said for names of other tools: the name of the study file, in the section where it belongs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adamtune.config import parse_study
from adamtune.config.aliases import ALIASES, SECTIONS, find_alias
from adamtune.config.distributions import RANGE_KEYS
from adamtune.errors import StudyFileError
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.schedules.registry import SCHEDULES
from adamtune.tasks.registry import TASKS


def problem(study: dict[str, Any]) -> str:
    """The only problem of a study file, without its place."""
    with pytest.raises(StudyFileError) as caught:
        parse_study(json.dumps({"name": "x", "task": "mlp"} | study), "x.yaml")
    (found,) = caught.value.problems
    return found.split(": ", 1)[1]


VALUES = {
    *(*OPTIMIZERS, *SCHEDULES, *TASKS, *RANGE_KEYS, "true", "false"),
    *("tpe", "gp", "cmaes", "qmc", "random", "grid", "none", "median", "asha", "hyperband"),
    *("auto", "population", "sequential", "cuda", "mps", "minimize", "maximize"),
    *("float32", "bfloat16", "float16", "float64"),
    *(metric for task in TASKS.values() for metric in task.metrics),
}


def test_every_alias_leads_to_a_name_of_the_study_file() -> None:
    assert {each.name for each in ALIASES} <= SECTIONS.keys() | VALUES
    for each in ALIASES:
        for word in each.words.split():
            found = find_alias(word, [each.name])
            assert found
            assert found.advice == (each.advice or each.name)


@pytest.mark.parametrize("name", [*OPTIMIZERS, *SCHEDULES, *TASKS])
def test_a_name_in_other_letters_is_no_other_name(name: str) -> None:
    for written in (name.upper(), name.title(), name.replace("_", "-"), name.replace("_", "").upper()):
        if written == name:
            continue
        if name in OPTIMIZERS:
            study, path = {"optimizer": written}, "optimizer"
        elif name in SCHEDULES:
            study, path = {"space": {"schedule": written}}, "space.schedule"
        else:
            study, path = {"task": written}, "task"
        assert problem(study) == f"{path}: found {written!r}; write {name}"


@pytest.mark.parametrize("key", sorted(SECTIONS))
def test_a_key_in_other_letters_is_no_other_key(key: str) -> None:
    written, section = key.upper().replace("_", "-"), SECTIONS[key]
    assert find_alias(written, [key for key, each in SECTIONS.items() if each == section]).advice == key


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ({"search": {"sampler": "TPE"}}, "search.sampler: found 'TPE'; write tpe"),
        ({"search": {"pruner": "ASHA"}}, "search.pruner: found 'ASHA'; write asha"),
        ({"search": {"pruner": None}}, "search.pruner: found nothing; write none"),
        ({"search": {"sampler": "CMA-ES"}}, "search.sampler: found 'CMA-ES'; write cmaes"),
        ({"search": {"scheduler": "x"}}, "search.scheduler: found 'scheduler'; write pruner"),
        ({"space": {"schedule": None}}, "space.schedule: found nothing; write constant"),
        ({"space": {"schedule": "none"}}, "space.schedule: found 'none'; write constant"),
        (
            {"space": {"schedule": "CosineAnnealingLR"}},
            "space.schedule: found 'CosineAnnealingLR'; write cosine",
        ),
        ({"space": {"schedule": {"type": "cosine"}}}, "space.schedule.type: found 'type'; write name"),
        (
            {"space": {"schedule": {"Warmup_Fraction": 0}}},
            "space.schedule.Warmup_Fraction: found 'Warmup_Fraction'; write warmup_fraction",
        ),
        ({"space": {"scheduler": "cosine"}}, "space.scheduler: found 'scheduler'; write schedule"),
        ({"space": {"weightdecay": 0}}, "space.weightdecay: found 'weightdecay'; write weight_decay"),
        (
            {"space": {"batch_size": 8}},
            "space.batch_size: unknown here; a fixed setting of the task goes to task, "
            "a searched one to space.task",
        ),
        ({"optimizers": "adam"}, "optimizers: found 'optimizers'; write optimizer"),
        ({"lr_scheduler": "cosine"}, "lr_scheduler: found 'lr_scheduler'; write schedule under space"),
        ({"batch_size": 8}, "batch_size: unknown here; move it to task"),
        ({"num_epochs": 8}, "num_epochs: found 'num_epochs'; write epochs under task"),
        ({"seed": 8}, "seed: unknown here; move it to search"),
        ({"objective": {"mode": "min"}}, "objective.mode: found 'mode'; write direction"),
        ({"objective": {"trials": 3}}, "objective.trials: unknown here; move it to search"),
        (
            {"task": {"name": "cnn"}, "objective": {"metric": "Accuracy"}},
            "objective.metric: found 'Accuracy'; write val_accuracy",
        ),
        ({"task": {"name": "mlp", "Epochs": 3}}, "task.Epochs: found 'Epochs'; write epochs"),
        ({"task": {"name": "mlp", "bs": 3}}, "task.bs: found 'bs'; write batch_size"),
        ({"task": {"name": "mlp", "lr": 3}}, "task.lr: unknown here; move it to space"),
        (
            {"task": {"name": "mlp", "steps": 3}},
            "task.steps: unknown key 'steps'; allowed: data, dataset, samples, target, kind, hidden, "
            "batch_size, epochs",
        ),
        ({"space": {"task": {"n_epochs": [3]}}}, "space.task.n_epochs: found 'n_epochs'; write epochs"),
        ({"device": "gpu"}, "device: found 'gpu'; write cuda"),
        ({"engine": "Population"}, "engine: found 'Population'; write population"),
    ],
)
def test_what_is_said(study: dict[str, Any], message: str) -> None:
    assert problem(study) == message
