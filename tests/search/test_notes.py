"""What a study cannot do as it was asked is said in notes: before a search, and by ``validate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from adamtune.cli.validate import summary
from adamtune.search.notes import notes
from adamtune.search.run import resume, run

from .studies import LR, in_optuna, interrupt, study, trials

NUMBERS = {"lr": LR, "momentum": {"low": 0.0, "high": 0.9}}
CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing to say": ({"space": NUMBERS}, []),
    "nothing searched": ({"space": {"lr": 0.1}}, ["Nothing is searched: 1 trial is trained, not 40"]),
    "few combinations": (
        {"space": {"lr": [0.1, 0.2, 0.3]}},
        ["has 3 combinations: 3 trials are trained, not 40"],
    ),
    "choices with cmaes": (
        {"space": NUMBERS | {"dampening": [0.2, 0.5]}, "search": {"sampler": "cmaes"}},
        ["cmaes draws these at random: dampening"],
    ),
    "a condition with cmaes": (
        {"space": NUMBERS, "optimizer": ["sgd", "adam"], "search": {"sampler": "cmaes"}},
        ["cmaes draws these at random: optimizer, momentum"],
    ),
    "a condition with gp": (
        {"space": NUMBERS, "optimizer": ["sgd", "adam"], "search": {"sampler": "gp"}},
        ["gp draws these at random: momentum"],
    ),
    "a condition with tpe": ({"space": NUMBERS, "optimizer": ["sgd", "adam"]}, []),
    "a large population": (
        {"population": 20},
        ["20 of 40 trials are in training at once, so tpe learns little from results: set population to 10"],
    ),
    "a large population of replicates": (
        {"population": 40, "search": {"seeds": 2}},
        ["20 of 40 trials are in training at once, so tpe learns little from results: set population to 20"],
    ),
    "a quarter of the trials": ({"population": 10}, []),
    "a large population without a model": ({"population": 40, "search": {"sampler": "random"}}, []),
    "a population larger than a short study": ({"population": 40, "search": {"trials": 10}}, []),
}


@pytest.mark.parametrize("name", CASES)
def test_notes_of_a_search_are_those_of_validate(name: str, folder: Path) -> None:
    changed, expected = CASES[name]
    search = {"trials": 40, "sampler": "tpe", "timeout": 1e-9} | changed.get("search", {})
    config = study(folder, **(changed | {"search": search}))
    said = run(config, lambda progress: None).progress.notes[1:]
    lines = summary(config)
    assert lines[lines.index("notes:") if said else len(lines) :] == (
        ["notes:", *(f"  {line}" for line in said)] if said else []
    )
    assert len(said) == len(expected)
    for line, part in zip(said, expected, strict=True):
        assert part in line


def test_an_automatic_population_leaves_results_to_learn_from() -> None:
    config = study(Path(), search={"trials": 40, "sampler": "tpe"})
    assert list(notes(config, 10)) == []


# Running trials of another program


def foreign(storage_path: str) -> None:
    """Begins a trial as another program does."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{storage_path}")
    optuna.load_study(study_name="s", storage=storage).ask()
    storage.engine.dispose()


def test_a_running_trial_of_another_program_is_not_counted(folder: Path) -> None:
    config = study(folder)
    before = interrupt(config, 2)
    foreign(config.storage)
    outcome = run(config, lambda progress: None)
    assert outcome.reason == "complete"
    assert (outcome.progress.done, outcome.progress.total, outcome.progress.counts["running"]) == (8, 8, 0)
    assert any("Trials of another program that are running" in note for note in outcome.progress.notes)
    states = [each["state"] for each in trials(config)]
    assert states == ["complete"] * len(before) + ["running"] + ["complete"] * (8 - len(before))
    assert run(config, lambda progress: None).reason == "already_complete"


def test_abandoning_leaves_the_trial_of_another_program(folder: Path) -> None:
    config = study(folder, search={"pruner": "asha", "trials": 24}, population=8)
    interrupt(config, 3)
    foreign(config.storage)
    assert resume(config.storage, "s", {}, lambda progress: None, abandon=True).reason == "complete"
    found = in_optuna(config)
    assert [each.number for each in found if each.state == TrialState.RUNNING] == [
        each.number for each in found if "settings" not in each.user_attrs
    ]
    assert sum(each.state == TrialState.FAIL for each in found) >= 1
    assert sum(each["state"] in ("complete", "pruned") for each in trials(config)) == 24
