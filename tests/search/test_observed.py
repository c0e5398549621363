"""What samplers are shown of a study, and that pruners are shown the study itself."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.storages import InMemoryStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from adamtune.search.observed import BEST, SHOWN, Bounded, Steered, thinned

from .studies import ended

COMPLETE, PRUNED, RUNNING = TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING
FINISHED = (COMPLETE, PRUNED, TrialState.FAIL)


def view(kind: type[Study], trials: Sequence[FrozenTrial], direction: str = "minimize") -> Study:
    study = optuna.create_study(study_name="s", direction=direction)
    study.add_trials(trials)
    return kind("s", study._storage, RandomSampler(seed=0))


def complete(count: int, seed: int = 0) -> list[FrozenTrial]:
    drawn = random.Random(seed)
    return [ended(number, COMPLETE, drawn.random()) for number in range(count)]


@pytest.mark.parametrize("count", [0, 1, SHOWN, SHOWN + 1, 137, 5 * SHOWN])
def test_at_most_so_many_are_shown_the_best_among_them(count: int) -> None:
    trials = complete(count)
    for direction, sign in ((StudyDirection.MINIMIZE, 1), (StudyDirection.MAXIMIZE, -1)):
        shown = thinned(trials, direction)
        assert len(shown) <= SHOWN
        assert len(shown) >= min(count, SHOWN // 2)
        numbers = [each.number for each in shown]
        assert numbers == sorted(set(numbers))
        best = sorted(trials, key=lambda each: sign * each.value)[:BEST]
        assert {each.number for each in best} <= set(numbers)


def test_the_others_are_shown_evenly() -> None:
    trials = [ended(number, COMPLETE, float(number)) for number in range(1000)]
    others = [each.number for each in thinned(trials, StudyDirection.MINIMIZE)[BEST:]]
    assert {later - earlier for earlier, later in pairwise(others)} == {-(-(1000 - BEST) // (SHOWN - BEST))}


def test_what_is_shown_depends_on_the_trials_not_on_the_order_in_which_they_ended() -> None:
    """A resumed study reads them by number, a running one saw them end; ties must not tell the two apart."""
    few = [ended(number, COMPLETE, 1.0) for number in range(10)]
    trials = few + [ended(number, PRUNED, user_attrs={"diverged_at": 1}) for number in range(10, 150)]
    trials += [ended(number, COMPLETE, 2.0) for number in range(150, 160)]
    expected = [each.number for each in thinned(trials, StudyDirection.MINIMIZE)]
    random.Random(0).shuffle(trials)
    assert [each.number for each in thinned(trials, StudyDirection.MINIMIZE)] == expected


def test_complete_before_pruned_before_diverged() -> None:
    """As TPE itself orders them."""
    far = [ended(number, PRUNED, 9.0, intermediate_values={5: 1.0, 9: 0.5}) for number in range(200, 210)]
    near = [ended(number, PRUNED, 9.0, intermediate_values={5: 0.1}) for number in range(210, 220)]
    bad = [ended(number, PRUNED, user_attrs={"diverged_at": 1}) for number in range(200)]
    good = [ended(number, COMPLETE, 50.0) for number in range(220, 230)]
    shown = {each.number for each in thinned([*bad, *far, *near, *good], StudyDirection.MINIMIZE)}
    assert shown >= {each.number for each in (*far, *good)}
    assert len(shown & {each.number for each in near}) >= BEST - 20


def test_running_trials_are_all_shown_and_finished_ones_as_they_end() -> None:
    bounded = view(Bounded, complete(SHOWN))
    running = [bounded.ask() for _ in range(30)]
    assert len(bounded.get_trials(states=(RUNNING,))) == 30
    for trial in running[10:]:
        bounded.tell(trial, -1.0)
    shown = bounded.get_trials(deepcopy=False)
    assert len(bounded.get_trials(states=(RUNNING,))) == 10
    assert len([each for each in shown if each.state == COMPLETE]) <= SHOWN
    assert {trial.number for trial in running} <= {each.number for each in shown}


def test_a_view_that_followed_the_study_shows_what_a_new_one_does() -> None:
    storage = InMemoryStorage()
    storage.create_new_study([StudyDirection.MINIMIZE], "s")
    follower = Bounded("s", storage, RandomSampler(seed=0))
    drawn = random.Random(1)
    waiting = []
    for number in range(300):
        waiting.append(follower.ask())
        while len(waiting) > drawn.randrange(12):
            trial = waiting.pop(drawn.randrange(len(waiting)))
            if drawn.random() < 0.6:
                storage.set_trial_user_attr(trial._trial_id, "diverged_at", 1)
                storage.set_trial_state_values(trial._trial_id, PRUNED)
            else:
                follower.tell(trial, round(drawn.random(), 1))
        fresh = Bounded("s", storage, RandomSampler(seed=0))
        seen = [[each.number for each in study.get_trials(deepcopy=False)] for study in (follower, fresh)]
        assert seen[0] == seen[1], number


@pytest.mark.parametrize(("direction", "worst"), [("minimize", 3.0), ("maximize", 1.0)])
def test_diverged_trials_are_as_bad_as_the_worst(direction: str, worst: float) -> None:
    trials = [ended(0, COMPLETE, 1.0), ended(1, COMPLETE, 3.0)]
    trials += [
        ended(2, PRUNED, user_attrs={"diverged_at": 4}, system_attrs={"kept": 1}),
        ended(3, PRUNED, 0.5, intermediate_values={1: 0.5}),
    ]
    steered = view(Steered, trials, direction)
    shown = steered.get_trials()
    assert [(each.state, each.value) for each in shown] == [
        (COMPLETE, 1.0),
        (COMPLETE, 3.0),
        (COMPLETE, worst),
        (PRUNED, 0.5),
    ]
    assert [each.number for each in steered.get_trials(states=(COMPLETE,))] == [0, 1, 2]
    assert shown[2].params == {"x": 0.5}
    assert shown[2].system_attrs == {"kept": 1}
    assert steered._storage.get_all_trials(steered._study_id)[2].state == PRUNED


def test_without_a_complete_trial_nothing_is_made_up() -> None:
    steered = view(Steered, [ended(0, PRUNED, user_attrs={"diverged_at": 4})])
    assert [(each.state, each.value) for each in steered.get_trials()] == [(PRUNED, None)]
