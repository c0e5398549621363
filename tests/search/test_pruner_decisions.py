"""Each pruner decides as Optuna's of the same rules, and reads each trial that ended once."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import nan
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.pruners import BasePruner
from optuna.storages import InMemoryStorage
from optuna.trial import Trial, TrialState

from adamtune.search.pruners import REDUCTION, pruner
from adamtune.storage.optuna_private import MemoryStorage

EVERY, STEPS = 10, 100
OPTUNAS: dict[str, Callable[[], BasePruner]] = {
    "asha": lambda: optuna.pruners.SuccessiveHalvingPruner(EVERY, REDUCTION),
    "hyperband": lambda: optuna.pruners.HyperbandPruner(EVERY, STEPS, REDUCTION),
    "median": lambda: optuna.pruners.MedianPruner(5, EVERY + 1),
}
VALUES = (0.0, 0.1, 0.1, 0.2, 0.3, 1.0, nan)


class Both:
    """A study with one of our pruners, and the same study with Optuna's."""

    def __init__(self, name: str, direction: str, storage: Callable[[], InMemoryStorage]) -> None:
        self.name = name
        pruners = pruner(name, STEPS), OPTUNAS[name]()
        self.studies = [
            optuna.create_study(study_name="s", direction=direction, pruner=each, storage=storage())
            for each in pruners
        ]
        self.trials: list[list[Trial]] = []

    def report(self, trials: list[Trial], value: float, step: int) -> bool:
        """Reports to both, and returns the decision."""
        for each in trials:
            each.report(value, step)
        ours, theirs = (each.should_prune() for each in trials)
        assert ours == theirs, (trials[0].number, step, value)
        return ours

    def tell(self, trials: list[Trial], value: float | None, state: TrialState) -> None:
        for own, each in zip(self.studies, trials, strict=True):
            own.tell(each, value, state)


@pytest.mark.filterwarnings("ignore:All-NaN")  # NumPy's, from Optuna
@given(
    st.integers(0, 2**32),
    st.sampled_from(["minimize", "maximize"]),
    st.sampled_from([*OPTUNAS]),
    st.sampled_from([InMemoryStorage, MemoryStorage]),
)
def test_decisions_are_those_of_optunas_pruners(
    seed: int, direction: str, name: str, storage: type[InMemoryStorage]
) -> None:
    """Trials in training at the same time, with ties and NaN; a search is resumed now and then."""
    drawn, both = random.Random(seed), Both(name, direction, storage)
    running: list[tuple[list[Trial], int]] = []
    for _ in range(150):
        if drawn.random() < 0.02:
            both.studies[0].pruner = pruner(name, STEPS)
        if len(running) < 4:
            running.append(([each.ask() for each in both.studies], EVERY))
        trials, step = running.pop(drawn.randrange(len(running)))
        value = drawn.choice(VALUES) if drawn.random() < 0.5 else drawn.random()
        if drawn.random() < 0.05:
            both.tell(trials, None, TrialState.FAIL)
        elif both.report(trials, value, step):
            both.tell(trials, None, TrialState.PRUNED)
        elif step == STEPS:
            both.tell(trials, 0.0, TrialState.COMPLETE)
        else:
            running.append((trials, step + EVERY))


@pytest.mark.parametrize("name", OPTUNAS)
def test_a_decision_reads_only_trials_that_are_new(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those that ended before, however many there are."""
    storage = MemoryStorage()
    own = optuna.create_study(storage=storage, pruner=pruner(name, STEPS))
    for _ in range(40):
        trial = own.ask()
        trial.report(1.0, EVERY)
        trial.should_prune()
        own.tell(trial, 1.0)
    read: list[int] = []

    class Counting(list[Any]):
        def __getitem__(self, place: Any) -> Any:
            read.append(place)
            return super().__getitem__(place)

    monkeypatch.setattr(storage, "trials", lambda study_id: Counting(MemoryStorage.trials(storage, study_id)))
    for _ in range(40):
        trial = own.ask()
        trial.report(2.0, 2 * EVERY)
        trial.should_prune()
        own.tell(trial, 2.0)
    # Those of the second half twice, in training and ended; the first 40, at the first decision, once more.
    assert len(read) <= 40 + 2 * 40
