"""What GP and CMA-ES are shown of a study."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from adamtune.search.samplers.per_trial import PenalizedStudy

from .studies import ended

COMPLETE, PRUNED = TrialState.COMPLETE, TrialState.PRUNED


def view(kind: type[Study], trials: Sequence[FrozenTrial], direction: str = "minimize") -> Study:
    study = optuna.create_study(study_name="s", direction=direction)
    study.add_trials(trials)
    return kind("s", study._storage, RandomSampler(seed=0))


@pytest.mark.parametrize(("direction", "worst"), [("minimize", 3.0), ("maximize", 1.0)])
def test_diverged_trials_are_as_bad_as_the_worst(direction: str, worst: float) -> None:
    trials = [ended(0, COMPLETE, 1.0), ended(1, COMPLETE, 3.0)]
    trials += [
        ended(2, PRUNED, user_attrs={"diverged_at": 4}, system_attrs={"kept": 1}),
        ended(3, PRUNED, 0.5, intermediate_values={1: 0.5}),
    ]
    penalized = view(PenalizedStudy, trials, direction)
    shown = penalized.get_trials()
    assert [(each.state, each.value) for each in shown] == [
        (COMPLETE, 1.0),
        (COMPLETE, 3.0),
        (COMPLETE, worst),
        (PRUNED, 0.5),
    ]
    assert [each.number for each in penalized.get_trials(states=(COMPLETE,))] == [0, 1, 2]
    assert shown[2].params == {"x": 0.5}
    assert shown[2].system_attrs == {"kept": 1}
    assert penalized._storage.get_all_trials(penalized._study_id)[2].state == PRUNED


def test_without_a_complete_trial_nothing_is_made_up() -> None:
    penalized = view(PenalizedStudy, [ended(0, PRUNED, user_attrs={"diverged_at": 4})])
    assert [(each.state, each.value) for each in penalized.get_trials()] == [(PRUNED, None)]
