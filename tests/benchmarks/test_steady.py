"""The steady-state measurements count what was trained, and train what the plain script trains."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
import torch

from adamtune.engines.base import Evaluation, Member
from adamtune.engines.sequential import Sequential
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.registry import TASKS
from benchmarks import plain_training, scaling, steady


@pytest.fixture(scope="module")
def task() -> LoadedTask:
    return TASKS["mlp"].build({"hidden": [4], "epochs": 1})


class Counting(Sequential):
    """Counts the steps of every evaluation."""

    def __init__(self) -> None:
        super().__init__(slots=3)
        self.steps = 0
        self.admitted: list[Member] = []

    def admit(self, members: Any) -> None:
        super().admit(members)
        self.admitted += members

    def advance(self, *pause: Any) -> list[Evaluation]:
        evaluations = super().advance(*pause)
        every = evaluations[0].member.task.evaluate_every
        self.steps += sum(each.step - (each.step - 1) // every * every for each in evaluations)
        return evaluations


def test_the_rate_of_an_engine_is_its_member_steps_over_the_time(
    task: LoadedTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock: Iterator[float] = iter(range(100))
    monkeypatch.setattr(steady, "perf_counter", lambda: next(clock))
    engine = Counting()
    # Begun at 0 s, measured until 20 s: that is 20 stretches after the first one, which is not counted.
    rate = steady.engine_rate(engine, task, seconds=20)
    first = 3 * task.evaluate_every
    assert rate == (engine.steps - first) / 20
    assert len(engine.admitted) > 3  # trainings ended, and others took their slots
    assert len({each.hyperparameters["lr"] for each in engine.admitted}) == len(engine.admitted)


def test_members_are_trained_with_what_the_plain_script_draws(task: LoadedTask) -> None:
    drawn = list(islice(steady.draws(seed=0), 5))
    for settings, member in zip(drawn, steady.members(task), strict=False):
        trained = {**member.hyperparameters, **member.schedule_hyperparameters}
        assert trained["lr"] == settings["lr"]
        assert trained["beta1"] == 1 - settings["one_minus_beta1"]
        assert trained["warmup_fraction"] == settings["warmup_fraction"]
        assert member.schedule == settings["schedule"]
        assert trained.keys() >= {"eps", "weight_decay", "beta2", "amsgrad"}


@pytest.mark.parametrize("schedule", plain_training.SCHEDULES)
def test_both_sides_have_the_same_schedules(task: LoadedTask, schedule: str) -> None:
    from adamtune.schedules.registry import lr_factors

    drawn = {"schedule": schedule, "warmup_fraction": 0.1}
    member = next(each for each in steady.members(task) if each.schedule == schedule)
    hyperparameters = {**member.schedule_hyperparameters, "warmup_fraction": 0.1}
    ours = lr_factors(schedule, hyperparameters, 100)
    theirs = [plain_training._factor(drawn, step, 100) for step in range(100)]
    torch.testing.assert_close(torch.tensor(list(ours)), torch.tensor(theirs), atol=0.02, rtol=0)


@pytest.mark.slow
def test_plain_processes_meet_and_train() -> None:
    assert steady.plain_rate("mlp", {"hidden": [4], "epochs": 1}, processes=2, seconds=0.2) > 0


def test_a_stretch_trains_as_its_task_does(task: LoadedTask) -> None:
    stretch = scaling.stretch(task)
    assert stretch.steps == task.steps // 10 * 10
    rate = steady.engine_rate(Sequential(2), stretch, seconds=0)
    assert rate > 0


def test_the_arithmetic_of_a_step_is_counted() -> None:
    task = TASKS["mlp"].build({"hidden": [64, 64], "batch_size": 32})
    forward = 2 * 32 * (10 * 64 + 64 * 64 + 64)
    # Backwards, each layer has a product for its weights and one for its input; the first needs no latter.
    assert scaling.step_flops(task) == 3 * forward - 2 * 32 * 10 * 64
