"""The seconds that are kept with a trial, by a clock that moves on by one second whenever it is read."""

from __future__ import annotations

import signal
from itertools import count
from math import inf
from pathlib import Path

import pytest

from adamtune.config import StudyConfig
from adamtune.engines import training
from adamtune.engines.population import group
from adamtune.search import loop
from adamtune.search.progress import Progress
from adamtune.search.run import run
from adamtune.storage.studies import read_study

from .studies import study

ENGINES = {"sequential": 40.0, "population": 10.0}
"""Ten evaluations, each with a second of training and one of scoring.

Sequentially, both members of a trial take them. In the population, four members share them, and two
of those are the trial's.
"""


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (group, training):
        ticks = count()
        monkeypatch.setattr(module, "perf_counter", lambda ticks=ticks: float(next(ticks)))
    monkeypatch.setattr(loop, "COMMIT_SECONDS", inf)  # a commit between two evaluations reads the clock
    monkeypatch.setattr("adamtune.engines.plan.cores", lambda: 1)


def of(folder: Path, engine: str) -> StudyConfig:
    return study(folder, engine=engine, population=4, search={"trials": 4, "seeds": 2})


def seconds(file: StudyConfig) -> list[float]:
    return [each.seconds for each in read_study(file.storage, file.name).trials if each.state == "complete"]


def stopped_after(rounds: int, file: StudyConfig) -> None:
    """Runs the study for so many rounds, and stops it as Ctrl-C does, with trials in training."""
    told = count(1)

    def observe(progress: Progress) -> None:
        if next(told) == rounds:
            assert progress.counts["running"] > 0
            signal.raise_signal(signal.SIGINT)

    assert run(file, observe).reason == "interrupted"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_trial_has_the_seconds_of_all_its_members(engine: str, folder: Path) -> None:
    file = of(folder, engine)
    assert run(file, lambda progress: None).reason == "complete"
    assert seconds(file) == [ENGINES[engine]] * 4


@pytest.mark.parametrize("engine", ENGINES)
def test_the_seconds_before_an_interruption_are_kept(engine: str, folder: Path) -> None:
    """Over two interruptions of one trial, and one of another."""
    file = of(folder, engine)
    for rounds in (3, 4, 9):
        stopped_after(rounds, file)
    assert run(file, lambda progress: None).reason == "complete"
    assert seconds(file) == [ENGINES[engine]] * 4
