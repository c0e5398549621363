"""Which trials of a study TPE learns from, and which of them are good."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from math import nan

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.samplers._tpe.sampler import _split_trials, default_gamma
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from adamtune.search.samplers.history import GOOD, LEARNED, TrialHistory

from .studies import ended

COMPLETE, PRUNED, RUNNING, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, TrialState.FAIL
MINIMIZE, MAXIMIZE = StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE


def last_step(trial: FrozenTrial) -> int:
    """All trainings are of ten steps."""
    return 10


def split(trials: Sequence[FrozenTrial], direction: StudyDirection = MINIMIZE) -> tuple[list[int], list[int]]:
    """The numbers of the good and of the others."""
    history = TrialHistory(direction, last_step)
    history.update(sorted(trials, key=lambda each: each.number))
    good, others = history.split()
    return [each.number for each in good], [each.number for each in others]


def complete(count: int) -> list[FrozenTrial]:
    drawn = random.Random(0)
    return [ended(number, COMPLETE, drawn.random()) for number in range(count)]


def anything(seed: int, count: int) -> list[FrozenTrial]:
    """Trials in all states, with ties; sometimes so few complete ones that pruned ones are good."""
    drawn = random.Random(seed)
    often, made = drawn.choice((0.0, 0.05, 0.5)), []
    for number in range(count):
        state = COMPLETE if drawn.random() < often else drawn.choice((PRUNED, PRUNED, FAIL))
        steps = {step: drawn.choice((0.1, 0.2, 0.3, nan)) for step in range(1, drawn.randrange(1, 5))}
        value = round(drawn.random(), 1) if state == COMPLETE else None
        made.append(ended(number, state, value, intermediate_values=steps))
    return made


@given(st.integers(0, 2**32), st.integers(0, LEARNED), st.sampled_from([MINIMIZE, MAXIMIZE]))
def test_of_few_trials_the_same_are_good_as_in_optunas_sampler(
    seed: int, count: int, direction: StudyDirection
) -> None:
    trials = anything(seed, count)
    study = optuna.create_study(direction="minimize" if direction == MINIMIZE else "maximize")
    learnt = [each for each in trials if each.state != FAIL]
    good, others = _split_trials(study, learnt, default_gamma(len(learnt)))
    expected = [each.number for each in good], [each.number for each in others]
    assert split(trials, direction) == expected


@pytest.mark.parametrize("count", [0, 1, LEARNED, LEARNED + 1, 137, 5 * LEARNED])
def test_the_history_is_bounded_and_has_the_best_trials(count: int) -> None:
    trials = complete(count)
    for direction, sign in ((MINIMIZE, 1), (MAXIMIZE, -1)):
        good, others = split(trials, direction)
        assert min(count, LEARNED // 2) <= len(good + others) <= LEARNED
        assert len(good) == min(GOOD, -(-count // 10))
        assert (good, others) == (sorted(set(good)), sorted(set(others) - set(good)))
        best = sorted(trials, key=lambda each: sign * each.value)
        assert set(good) == {each.number for each in best[: len(good)]}
        assert {each.number for each in best[:GOOD]} <= {*good, *others}


def test_the_sample_of_the_others_is_even() -> None:
    _, others = split([ended(number, COMPLETE, float(number)) for number in range(1000)])
    thinned = [number for number in others if number >= GOOD]
    assert {later - earlier for earlier, later in pairwise(thinned)} == {
        -(-(1000 - GOOD) // (LEARNED - GOOD))
    }


def test_a_history_that_was_updated_equals_a_new_one() -> None:
    """A resumed study reads its trials by number, a running one saw them end: ties must not matter."""
    trials, drawn = anything(1, 600), random.Random(1)
    now: list[FrozenTrial] = []
    follower, waiting = TrialHistory(MINIMIZE, last_step), list[int]()
    for number in range(len(trials)):
        now.append(ended(number, RUNNING))
        waiting.append(number)
        while len(waiting) > drawn.randrange(12):
            over = waiting.pop(drawn.randrange(len(waiting)))
            now[over] = trials[over]
        newcomer = TrialHistory(MINIMIZE, last_step)
        newcomer.update(now)
        follower.update(now)
        assert follower.split() == newcomer.split(), number
        assert [each.number for each in follower.running] == sorted(waiting)


def test_it_says_whether_anything_ended() -> None:
    history = TrialHistory(MINIMIZE, last_step)
    assert history.update([ended(0, COMPLETE, 1.0), ended(1, RUNNING)])
    assert not history.update([ended(0, COMPLETE, 1.0), ended(1, RUNNING), ended(2, RUNNING)])
    assert not history.update([ended(0, COMPLETE, 1.0), ended(1, FAIL), ended(2, RUNNING)])
    assert history.update([ended(0, COMPLETE, 1.0), ended(1, FAIL), ended(2, PRUNED)])
