"""A total that changes between two runs: the slots follow it, and members in training are finished."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from adamtune.config import StudyConfig
from adamtune.search.progress import Progress
from adamtune.search.run import run

from .studies import interrupt, searched, study, trials


def file(folder: Path, total: int, **more: Any) -> StudyConfig:
    return study(folder, search={"trials": total, "seeds": 2, "pruner": "asha"}, **more)


@pytest.mark.parametrize(
    ("total", "population"), [(1, {}), (11, {"population": 24}), (20, {}), (39, {"population": 24})]
)
def test_a_lower_total_finishes_what_is_in_training(
    total: int, population: dict[str, Any], folder: Path
) -> None:
    before = interrupt(file(folder, 64, **population), 2)
    running = [each["number"] for each in before if each["state"] == "running"]
    assert len(running) > 3
    outcome = run(file(folder, total, **population), lambda progress: None)
    assert outcome.reason == "complete"
    after = trials(file(folder, total, **population))
    assert len(after) == max(total, len(before))
    assert {each["state"] for each in after} <= {"complete", "pruned"}
    assert outcome.progress.done == outcome.progress.total == len(after)
    said = [note for note in outcome.progress.notes if "no more are begun" in note]
    assert bool(said) == (len(before) > total)


def test_the_trials_in_training_are_as_without_the_lower_total(folder: Path, another: Path) -> None:
    rounds = 0

    def interrupt_in_the_second_half(progress: Progress) -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 13:
            signal.raise_signal(signal.SIGINT)

    def config(folder: Path, total: int) -> StudyConfig:
        return study(folder, search={"trials": total}, population=16)

    assert run(config(folder, 40), interrupt_in_the_second_half).reason == "interrupted"
    finished = searched(config(folder, 3))
    assert len(finished) == 32
    assert finished == searched(config(another, 40))[:32]


def in_training(config: StudyConfig) -> int:
    """The most trials that are in training at once."""
    found: list[int] = []

    def observe(progress: Progress) -> None:
        found.append(progress.counts["running"] + len(progress.last_batch))

    searched(config, observe)
    return max(found)


def test_the_slots_follow_the_total(folder: Path, another: Path) -> None:
    """A plan that was made for few trials does not hold back a study of many."""
    few = in_training(study(folder, search={"trials": 4}, task={"epochs": 1}))
    many = in_training(study(folder, search={"trials": 400}, task={"epochs": 1}))
    assert few <= 4
    assert many == in_training(study(another, search={"trials": 400}, task={"epochs": 1})) > 50


def test_a_population_follows_the_total(folder: Path) -> None:
    assert in_training(study(folder, search={"trials": 3}, population=12)) == 3
    assert in_training(study(folder, search={"trials": 30}, population=12)) == 12
