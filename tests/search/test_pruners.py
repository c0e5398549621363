"""Pruned trials end early, free their slots at once, and a resumed study prunes the same ones."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial

from adamtune.config import StudyConfig
from adamtune.engines.base import Evaluation
from adamtune.engines.population.engine import Population
from adamtune.search.pruner_rules import MedianPruner
from adamtune.search.pruners import pruner
from adamtune.search.samplers.history import LEARNED
from adamtune.storage.optuna_private import all_trials

from .studies import LR, WILD, in_optuna, interrupt, searched, study

PRUNERS = ("none", "median", "asha", "hyperband")
STEPS = 10


def test_an_unknown_name_is_told() -> None:
    with pytest.raises(ValueError, match="best-first"):
        pruner("best-first", STEPS)


@pytest.mark.parametrize("name", PRUNERS)
def test_pruned_trials_end_early_with_what_they_came_to(name: str, folder: Path) -> None:
    file = study(folder, search={"trials": 24, "pruner": name}, population=4)
    done = searched(file)
    assert len(done) == 24
    pruned = [each for each in done if each["state"] == "pruned"]
    assert bool(pruned) == (name != "none")
    for each in pruned:
        last = max(each["intermediate"])
        assert last == each["steps"] < STEPS
        assert each["value"] == each["intermediate"][last] == each["seeds"][0]
        assert each["metrics"].keys() == {"val_loss", "val_r2", "train_loss"}
    best = min(done, key=lambda each: each["value"])
    assert best["state"] == "complete"
    assert [each.state.name.lower() for each in in_optuna(file)] == [each["state"] for each in done]


def test_a_trial_is_not_pruned_before_there_is_something_to_compare(folder: Path) -> None:
    done = searched(study(folder, search={"trials": 24, "pruner": "median"}, engine="sequential"))
    pruned = [each["number"] for each in done if each["state"] == "pruned"]
    assert pruned
    assert min(pruned) >= 5


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many members are in training in each round."""
    found: list[int] = []
    advance = Population.advance

    def counting(self: Population, pause: Callable[[], bool]) -> list[Evaluation]:
        found.append(len(self._groups))
        assert found[-1] <= self.slots
        return advance(self, pause)

    monkeypatch.setattr(Population, "advance", counting)
    return found


@pytest.mark.parametrize(
    ("space", "name"),
    [(LR, "asha"), (LR, "hyperband"), (WILD, "none")],
    ids=["asha", "hyperband", "diverging"],
)
def test_free_slots_are_refilled_at_once(
    space: dict[str, object], name: str, training: list[int], folder: Path
) -> None:
    """Eight members at all times: four trials of two replicates each, until no trial is owed."""
    file = study(folder, search={"trials": 20, "pruner": name, "seeds": 2}, population=8, space={"lr": space})
    early = [each for each in searched(file) if each["steps"] < STEPS]
    assert len(early) >= 3
    full = training.index(next(count for count in training if count < 8))
    assert set(training[:full]) == {8}
    assert training[full:] == sorted(training[full:], reverse=True)


def resumed(file: Callable[[Path], StudyConfig], folder: Path, another: Path, at: tuple[int, ...]) -> None:
    for done in at:
        interrupt(file(folder), done)
    assert searched(file(folder)) == searched(file(another))


PAIRS = list(product(["median", "asha", "hyperband"], ["tpe", "cmaes", "qmc"]))
OFTEN = {("median", "cmaes"), ("asha", "tpe"), ("hyperband", "tpe")}


@pytest.mark.parametrize(
    ("name", "sampler"),
    [pytest.param(*each, marks=() if each in OFTEN else pytest.mark.slow) for each in PAIRS],
)
def test_a_resumed_study_prunes_the_same(name: str, sampler: str, folder: Path, another: Path) -> None:
    """Diverged trials are among them, which some samplers are shown as complete ones."""

    def file(folder: Path) -> StudyConfig:
        search = {"trials": 28, "pruner": name, "sampler": sampler}
        return study(
            folder, search=search, population=8, space={"lr": {"low": 1e-3, "high": 1e1, "log": True}}
        )

    resumed(file, folder, another, (9, 19))


@pytest.mark.parametrize(("sampler", "trials"), [("tpe", LEARNED + 40), ("cmaes", 30)])
def test_pruners_see_the_study_itself(
    sampler: str, trials: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what samplers are shown: a resumed trial must be judged as one that was never interrupted."""
    prune = MedianPruner.prune
    judged = []

    def watching(self: MedianPruner, own: optuna.Study, trial: FrozenTrial) -> bool:
        kept = own._storage.get_all_trials(own._study_id, deepcopy=False)
        judged.append([each.state for each in all_trials(own)] == [each.state for each in kept])
        return prune(self, own, trial)

    monkeypatch.setattr(MedianPruner, "prune", watching)
    search = {"trials": trials, "pruner": "median", "sampler": sampler}
    done = searched(study(folder, search=search, population=8, space={"lr": WILD}))
    assert {"diverged", "pruned"} <= {each["state"] for each in done}
    assert all(judged), f"{judged.count(False)} of {len(judged)} decisions"
