"""The seconds of an evaluation, by a clock that advances by one second whenever it is read.

By that clock, training takes a second in each call of ``advance``, and scoring one in each evaluation.
"""

from __future__ import annotations

from itertools import count

import pytest

from adamtune.engines import training as lone_training
from adamtune.engines.base import Engine
from adamtune.engines.population import group

from . import training
from .models import Toy
from .test_pause import after
from .training import copied, finish, some


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (group, lone_training):
        ticks = count()
        monkeypatch.setattr(module, "perf_counter", lambda ticks=ticks: float(next(ticks)))


def seconds(engine: Engine) -> list[float]:
    return [each.seconds for each in engine.advance()]


@pytest.mark.parametrize("members", [1, 2, 4])
def test_members_trained_together_share_the_seconds(members: int) -> None:
    """In every evaluation, the last one included, and in a population with free slots."""
    found = finish(training.population(4), some(Toy(), members))
    assert len(found) == members
    for evaluations in found.values():
        assert [each.seconds for each in evaluations] == [2 / members] * 3


def test_the_remaining_members_share_the_seconds() -> None:
    members = some(Toy(), 4)
    engine = training.population(4)
    engine.admit(members)
    assert seconds(engine) == [0.5] * 4
    engine.release(members[1:3])
    assert seconds(engine) == [1.0] * 2


def test_a_diverging_member_has_its_share_of_the_seconds() -> None:
    members = some(Toy(steps=6, evaluate_every=6), 3)
    members.append(training.member(members[0].task, 3, "sgd", lr=1e300))
    found = finish(training.population(4), members)
    assert [each.diverged_at is None for (each,) in found.values()] == [True] * 3 + [False]
    assert [each.seconds for (each,) in found.values()] == [0.5] * 4


def test_each_task_has_seconds_of_its_own() -> None:
    engine = training.population(4)
    engine.admit([*some(Toy(), 3), *some(Toy(steps=4), 1)])
    assert seconds(engine) == [2 / 3] * 3 + [2.0]
    assert seconds(engine) == [2 / 3] * 3 + [2.0]


def test_members_trained_one_after_the_other_have_seconds_of_their_own() -> None:
    found = finish(training.sequential(3), some(Toy(), 3))
    for evaluations in found.values():
        assert [each.seconds for each in evaluations] == [2.0] * 3


@pytest.mark.parametrize("saved", [False, True], ids=["going on", "saved and restored"])
@pytest.mark.parametrize("kind", ["population", "sequential"])
def test_the_seconds_before_a_pause_count(kind: str, saved: bool) -> None:
    """They are in the seconds of the next evaluation, not in those of the one after it."""
    make, members = getattr(training, kind), some(Toy(steps=13, evaluate_every=6), 1)
    engine = make(1)
    engine.admit(members)
    assert engine.advance(after(4)) == []
    if saved:
        state = copied(engine.state())
        engine = make(1)
        engine.restore(members, state)
    assert [seconds(engine), seconds(engine)] == [[3.0], [2.0]]
