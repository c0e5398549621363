"""An engine that restores a state continues from it to the last bit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from adamtune.engines.base import Engine, Evaluation, Member
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.schedules.registry import SCHEDULES
from adamtune.storage.local.checkpoints import load, save
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.registry import TASKS

from .models import FEATURES, Calls, Toy
from .training import Make, copied, curve, finish, population, sequential, some, varied_member

ENGINES: dict[str, Make] = {
    "population": population,
    "two threads": lambda slots: population(slots, 2),
    "sequential": sequential,
}


@pytest.fixture(params=ENGINES)
def make(request: pytest.FixtureRequest) -> Make:
    return ENGINES[request.param]


AGAIN = pytest.mark.parametrize("make", ["two threads", "sequential"], indirect=True)
"""For what does not depend on the threads."""


@pytest.fixture
def cohorts() -> list[LoadedTask]:
    """Tasks of different widths and batch sizes."""

    def narrow() -> nn.Module:
        return nn.Sequential(nn.Linear(FEATURES, 3), nn.Tanh(), nn.Linear(3, 1))

    times: dict[str, Any] = {"steps": 30, "evaluate_every": 3}
    return [Toy(**times), Toy(narrow, **times), Toy(batch_size=6, **times)]


def members_of(cohorts: list[LoadedTask], count: int) -> list[Member]:
    rules, schedules = list(OPTIMIZERS), list(SCHEDULES)
    return [
        varied_member(cohorts[i % len(cohorts)], i, rules[i % len(rules)], schedules[i % len(schedules)])
        for i in range(count)
    ]


def half_trained(engine: Engine, cohorts: list[LoadedTask]) -> list[Member]:
    """Trains members to different steps, some in the slots of released ones; those in training."""
    members = members_of(cohorts, 13)
    engine.admit(members[:10])
    evaluations = [*engine.advance(), *engine.advance()]
    assert all(each.diverged_at is None for each in evaluations)
    engine.release([members[1], members[6], members[9]])
    engine.admit(members[10:])
    engine.advance()
    return [each for i, each in enumerate(members) if i not in (1, 6, 9)]


def rest(engine: Engine) -> dict[Member, list[Evaluation]]:
    return finish(engine)


def assert_same_bits(
    found: Mapping[Member, list[Evaluation]], expected: Mapping[Member, list[Evaluation]]
) -> None:
    assert list(found) == list(expected)
    for each in expected:
        assert curve(found[each]) == curve(expected[each]), (each.trial, each.optimizer)


def test_a_restored_engine_continues_to_the_last_bit(
    make: Make, cohorts: list[LoadedTask], tmp_path: Path
) -> None:
    engine, restored = make(10), make(10)
    members = half_trained(engine, cohorts)
    save(tmp_path / "state", engine.state())
    expected = rest(engine)
    assert len({each[0].step for each in expected.values()}) > 1
    restored.restore(members, load(tmp_path / "state"))
    assert_same_bits(rest(restored), expected)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_continues_to_the_last_bit_in_float32(
    name: str, make: Make, tasks: Mapping[str, LoadedTask]
) -> None:
    torch.set_default_dtype(torch.float32)
    members = members_of([tasks[name]], 4)
    engine, restored = make(4), make(4)
    for each in (engine, restored):
        each._dtype = torch.float32  # type: ignore[attr-defined]
    engine.admit(members)
    for _ in range(7):
        engine.advance()
    restored.restore(members, copied(engine.state()))
    assert_same_bits(rest(restored), rest(engine))


@AGAIN
def test_a_restored_engine_can_be_saved_again(make: Make, cohorts: list[LoadedTask]) -> None:
    engine, second, third = make(10), make(10), make(10)
    members = half_trained(engine, cohorts)
    second.restore(members, copied(engine.state()))
    third.restore(members, copied(second.state()))
    assert_same_bits(rest(third), rest(engine))


@AGAIN
def test_restoring_replaces_the_members_in_training(make: Make, cohorts: list[LoadedTask]) -> None:
    engine, other = make(10), make(10)
    members = half_trained(engine, cohorts)
    half_trained(other, cohorts)
    other.restore(members, copied(engine.state()))
    assert_same_bits(rest(other), rest(engine))


def test_training_does_not_change_a_state_taken_before(make: Make, mlp: LoadedTask) -> None:
    engine = make(2)
    engine.admit(some(mlp, 2))
    engine.advance()
    state = engine.state()
    before = copied(state)
    engine.advance()
    torch.testing.assert_close(state, before, rtol=0, atol=0)


def test_a_state_can_be_restored_more_than_once(make: Make, mlp: LoadedTask) -> None:
    engine, members = make(2), some(mlp, 2)
    engine.admit(members)
    engine.advance()
    state = copied(engine.state())
    found = []
    for _ in range(2):
        engine.restore(members, state)
        found.append(rest(engine))
    assert_same_bits(found[1], found[0])


def test_parameters_without_optimizer_state_are_restored_in_order() -> None:
    """The first parameter has no gradient, so torch.optim has no state for it."""
    task = Toy(
        lambda: Calls(lambda self, x: self.head(x), idle=nn.Linear(FEATURES, 1), head=nn.Linear(FEATURES, 1)),
        evaluate_every=1,
    )
    engine, restored, members = sequential(2), sequential(2), some(task, 2)
    engine.admit(members)
    for _ in range(3):
        engine.advance()
    restored.restore(members, copied(engine.state()))
    assert_same_bits(rest(restored), rest(engine))


def test_running_statistics_of_batch_norm_are_restored() -> None:
    task = Toy(lambda: nn.Sequential(nn.BatchNorm1d(FEATURES), nn.Linear(FEATURES, 1)), evaluate_every=1)
    engine, restored, members = sequential(2), sequential(2), some(task, 2)
    engine.admit(members)
    for _ in range(3):
        engine.advance()
    state = copied(engine.state())
    restored.restore(members, state)
    assert_same_bits(rest(restored), rest(engine))
    assert state["members"][0]["model"]["0.running_mean"].abs().max() > 0
