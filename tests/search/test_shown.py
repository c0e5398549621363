"""What TPE is shown of a study's trials, and which of them are good."""

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

from adamtune.search.samplers.history import BEST, SHOWN, Shown

from .studies import ended

COMPLETE, PRUNED, RUNNING, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, TrialState.FAIL
MINIMIZE, MAXIMIZE = StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE


def split(trials: Sequence[FrozenTrial], direction: StudyDirection = MINIMIZE) -> tuple[list[int], list[int]]:
    """The numbers of the good and of the others."""
    shown = Shown(direction)
    shown.look(sorted(trials, key=lambda each: each.number))
    good, others = shown.split()
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


@given(st.integers(0, 2**32), st.integers(0, SHOWN), st.sampled_from([MINIMIZE, MAXIMIZE]))
def test_of_few_trials_the_same_are_good_as_in_optunas_sampler(
    seed: int, count: int, direction: StudyDirection
) -> None:
    trials = anything(seed, count)
    study = optuna.create_study(direction="minimize" if direction == MINIMIZE else "maximize")
    learnt = [each for each in trials if each.state != FAIL]
    good, others = _split_trials(study, learnt, default_gamma(len(learnt)))
    expected = [each.number for each in good], [each.number for each in others]
    assert split(trials, direction) == expected


@pytest.mark.parametrize("count", [0, 1, SHOWN, SHOWN + 1, 137, 5 * SHOWN])
def test_at_most_so_many_are_shown_the_best_among_them(count: int) -> None:
    trials = complete(count)
    for direction, sign in ((MINIMIZE, 1), (MAXIMIZE, -1)):
        good, others = split(trials, direction)
        assert min(count, SHOWN // 2) <= len(good + others) <= SHOWN
        assert len(good) == min(BEST, -(-count // 10))
        assert (good, others) == (sorted(set(good)), sorted(set(others) - set(good)))
        best = sorted(trials, key=lambda each: sign * each.value)
        assert set(good) == {each.number for each in best[: len(good)]}
        assert {each.number for each in best[:BEST]} <= {*good, *others}


def test_the_others_are_shown_evenly() -> None:
    _, others = split([ended(number, COMPLETE, float(number)) for number in range(1000)])
    thinned = [number for number in others if number >= BEST]
    assert {later - earlier for earlier, later in pairwise(thinned)} == {-(-(1000 - BEST) // (SHOWN - BEST))}


def test_whoever_followed_a_study_is_shown_what_a_newcomer_is() -> None:
    """A resumed study reads its trials by number, a running one saw them end: ties must not matter."""
    trials, drawn = anything(1, 600), random.Random(1)
    now: list[FrozenTrial] = []
    follower, waiting = Shown(MINIMIZE), list[int]()
    for number in range(len(trials)):
        now.append(ended(number, RUNNING))
        waiting.append(number)
        while len(waiting) > drawn.randrange(12):
            over = waiting.pop(drawn.randrange(len(waiting)))
            now[over] = trials[over]
        newcomer = Shown(MINIMIZE)
        newcomer.look(now)
        follower.look(now)
        assert follower.split() == newcomer.split(), number
        assert [each.number for each in follower.running] == sorted(waiting)


def test_it_says_whether_anything_ended() -> None:
    shown = Shown(MINIMIZE)
    assert shown.look([ended(0, COMPLETE, 1.0), ended(1, RUNNING)])
    assert not shown.look([ended(0, COMPLETE, 1.0), ended(1, RUNNING), ended(2, RUNNING)])
    assert not shown.look([ended(0, COMPLETE, 1.0), ended(1, FAIL), ended(2, RUNNING)])
    assert shown.look([ended(0, COMPLETE, 1.0), ended(1, FAIL), ended(2, PRUNED)])
