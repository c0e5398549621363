"""The lengths of functions and commands, how pruners compare them, and what samplers learn from failures."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from adamtune.config import parse_study
from adamtune.search.programs import Programs
from adamtune.search.pruners import TenthsStorage, pruning_study
from adamtune.search.samplers.history import TrialHistory
from adamtune.search.samplers.per_trial import PenalizedStudy
from adamtune.storage.optuna_private import storage_of
from adamtune.storage.records import record_of

FILE = """\
name: x
task: {command: "train {lr}", metrics: {val_loss: minimize}}
search: {pruner: median}
"""
COMPLETE, PRUNED, RUNNING, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, TrialState.FAIL


def add(study: optuna.Study, state: TrialState, steps: dict[int, float], **attrs: Any) -> int:
    value = list(steps.values())[-1] if state == COMPLETE else None
    study.add_trial(create_trial(state=state, value=value, intermediate_values=steps, user_attrs=attrs))
    return len(study.get_trials(deepcopy=False)) - 1


def programs(study: optuna.Study) -> Programs:
    config = parse_study(FILE, "x.yaml")
    return Programs(config, cast(Any, config.task.entry), study)


def shown(study: optuna.Study, number: int) -> dict[int, float]:
    """A trial's values as a pruner sees them."""
    storage = pruning_study(parse_study(FILE, "x.yaml"), study, programs(study))
    assert isinstance(cast(Any, storage_of(storage)), TenthsStorage)
    return storage_of(storage).get_trial(number).intermediate_values


def test_a_trial_is_compared_by_the_steps_that_it_tells() -> None:
    study = optuna.create_study()
    add(study, COMPLETE, {10: 1.0})
    number = add(study, RUNNING, {50: 4.0, 100: 3.0, 110: 2.0, 400: 1.0}, total_steps=1000)
    assert shown(study, number) == {0: 4.0, 1: 3.0, 4: 1.0}


def test_a_trial_that_tells_no_steps_is_as_long_as_the_first_complete_one() -> None:
    study = optuna.create_study()
    number = add(study, RUNNING, {5: 3.0})
    assert shown(study, number) == {}
    assert programs(study).steps(study.trials[number]) == 5
    add(study, COMPLETE, {10: 1.0, 20: 0.5})
    add(study, COMPLETE, {10: 1.0, 1000: 0.5})
    assert shown(study, number) == {2: 3.0}
    assert programs(study).steps(study.trials[number]) == 20


@pytest.mark.parametrize("state", [COMPLETE, PRUNED])
def test_a_setting_that_fails_is_bad(state: TrialState) -> None:
    study = optuna.create_study()
    add(study, FAIL, {1: 0.0}, failure="exit code 1")
    add(study, FAIL, {1: 0.0})  # given up
    for value in range(3):
        add(study, state, {1: float(value)})
    history = TrialHistory(StudyDirection.MINIMIZE, lambda trial: 1)
    assert history.update(study.trials)
    good, others = history.split()
    assert [each.number for each in good] == [2]
    assert [each.number for each in others] == [0, 3, 4]


def test_gp_and_cmaes_see_a_failure_as_the_worst_value() -> None:
    study = optuna.create_study()
    add(study, COMPLETE, {1: 3.0})
    add(study, FAIL, {}, failure="exit code 1")
    add(study, FAIL, {})
    seen = PenalizedStudy(study.study_name, storage_of(study)).view(study.trials)
    assert [(each.state, each.values) for each in seen] == [
        (COMPLETE, [3.0]),
        (COMPLETE, [3.0]),
        (FAIL, None),
    ]


def test_a_record_tells_why_a_trial_failed(tmp_path: Path) -> None:
    study = optuna.create_study()
    add(study, FAIL, {1: 2.0}, failure="exit code 1\nwhy", total_steps=9)
    record = record_of(study.trials[0])
    assert (record.state, record.failure, record.total_steps) == ("failed", "exit code 1\nwhy", 9)
