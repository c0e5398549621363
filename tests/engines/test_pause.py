"""A pause between two steps does not change results, nor do a restart or releases during the pause."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest
import torch

from adamtune.engines.base import Engine, Evaluation, Member

from .models import Toy
from .test_state import ENGINES
from .training import Make, alone, assert_close, copied, curve, finish, some, tensors, varied_member


@pytest.fixture(params=ENGINES)
def make(request: pytest.FixtureRequest) -> Make:
    return ENGINES[request.param]


@pytest.fixture
def members() -> list[Member]:
    """Members of several rules, some of which have other equations in their first steps."""
    task, rules = Toy(steps=13, evaluate_every=6), ["adam", "radam", "nadam", "sgd", "amsgrad"]
    return [varied_member(task, i, rule, "wsd") for i, rule in enumerate(rules)]


def after(steps: int) -> Callable[[], bool]:
    """A pause that is True from the call after ``steps`` calls on; each thread calls it."""
    asked = count()
    return lambda: next(asked) >= steps


def finish_with_pauses(
    engine: Engine, steps: int, meanwhile: Callable[[Engine], Engine] = lambda engine: engine
) -> dict[Member, list[Evaluation]]:
    """Trains to the end with a pause after each ``steps`` calls.

    Args:
        engine: with its members.
        steps: calls of ``pause`` before it is True.
        meanwhile: called in each pause; returns the engine that continues.
    """
    found: dict[Member, list[Evaluation]] = {}
    pauses = 0
    while True:
        evaluations = engine.advance(after(steps))
        if evaluations:
            for each in evaluations:
                found.setdefault(each.member, []).append(each)
            if all(each.finished for each in evaluations):
                assert pauses > 0
                return found
        else:
            pauses += 1
            engine = meanwhile(engine)


@pytest.mark.parametrize("steps", [4, 5])
def test_pauses_change_nothing(steps: int, make: Make, members: list[Member]) -> None:
    engine = make(5)
    engine.admit(members)
    found, expected = finish_with_pauses(engine, steps), finish(make(5), members)
    for each in members:
        assert curve(found[each]) == curve(expected[each])


def test_a_state_saved_in_a_pause_continues_to_the_last_bit(make: Make, members: list[Member]) -> None:
    def restored(engine: Engine) -> Engine:
        fresh = make(5)
        fresh.restore(members, copied(engine.state()))
        return fresh

    engine = make(5)
    engine.admit(members)
    found, expected = finish_with_pauses(engine, 4, restored), finish(make(5), members)
    for each in members:
        assert curve(found[each]) == curve(expected[each])


def test_a_pause_before_the_first_step_takes_no_step(make: Make, members: list[Member]) -> None:
    engine = make(5)
    engine.admit(members)
    weight = "parameter.0.weight"
    start = [each[weight] for each in tensors(engine, members)]
    for steps, moved in ((0, False), (5, True)):
        assert engine.advance(after(steps)) == []
        now = [each[weight] for each in tensors(engine, members)]
        assert any(not torch.equal(*each) for each in zip(now, start, strict=True)) == moved


def test_members_released_in_a_pause_do_not_change_the_others(make: Make, members: list[Member]) -> None:
    engine = make(5)
    engine.admit(members)
    engine.advance()
    assert engine.advance(after(4)) == []
    engine.release(members[1:3])
    found = finish(engine)
    assert set(found) == {members[0], *members[3:]}
    for each, evaluations in found.items():
        assert_close(curve(evaluations), alone(each)[1:])


def test_losses_before_a_pause_are_in_the_mean(make: Make) -> None:
    """The training loss is the mean over all batches since the last evaluation."""
    each = some(Toy(steps=6, evaluate_every=6), 1)[0]
    engine = make(1)
    engine.admit([each])
    assert engine.advance(after(4)) == []
    (evaluation,) = engine.advance()
    assert evaluation.step == 6
    assert_close([(6, dict(evaluation.metrics))], alone(each), tolerance=1e-14)
