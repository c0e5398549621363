"""A new database for each test (Optuna creates one, the tests get copies), and studies to fill it."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from adamtune.storage.local.checkpoints import Checkpoints
from adamtune.storage.local.storage import LocalStorage


@pytest.fixture
def database(empty_database: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(empty_database, tmp_path / "studies.db"))


@pytest.fixture
def storage(database: Path) -> Iterator[LocalStorage]:
    storage = LocalStorage(database)
    yield storage
    storage.close()


@pytest.fixture
def fill() -> Callable[[BaseStorage, str, tuple[StudyDirection, ...]], int]:
    return _fill


DISTRIBUTIONS: dict[str, tuple[float, BaseDistribution]] = {
    "float": (0.25, FloatDistribution(0.0, 1.0)),
    "float_log": (1e-5, FloatDistribution(1e-8, 1.0, log=True)),
    "float_step": (0.75, FloatDistribution(0.0, 1.0, step=0.25)),
    "int": (3.0, IntDistribution(1, 9)),
    "int_log": (64.0, IntDistribution(1, 1024, log=True)),
    "int_step": (4.0, IntDistribution(0, 8, step=2)),
    "choice": (2.0, CategoricalDistribution(("adam", True, None, 0.5, 7))),
}
ATTRS = {
    "text": "ß ∑ 'quoted'",
    "nested": {"list": [1, 2.5, None, True], "empty": {}},
    "nan": math.nan,
    "inf": -math.inf,
    "nothing": None,
}
REPORTED = [0.5, 1e300, -1e-300, math.inf, -math.inf, math.nan, 0.1 + 0.2]


def _fill(storage: BaseStorage, name: str, directions: tuple[StudyDirection, ...]) -> int:
    """A study with a trial of every state, every distribution, every kind of value and attribute."""
    study_id = storage.create_new_study(directions, name)
    for key, value in ATTRS.items():
        storage.set_study_user_attr(study_id, key, value)
        storage.set_study_system_attr(study_id, f"system:{key}", value)
    for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING):
        trial_id = storage.create_new_trial(study_id)
        for param, (internal, distribution) in DISTRIBUTIONS.items():
            storage.set_trial_param(trial_id, param, internal, distribution)
        for step, value in enumerate(REPORTED):
            storage.set_trial_intermediate_value(trial_id, 10 * step, value)
        storage.set_trial_intermediate_value(trial_id, 0, 0.75)  # replaces the first
        for key, value in ATTRS.items():
            storage.set_trial_user_attr(trial_id, key, value)
            storage.set_trial_system_attr(trial_id, key, value)
        storage.set_trial_user_attr(trial_id, "text", "replaced")
        values = [math.inf, 0.1 + 0.2][: len(directions)] if state == TrialState.COMPLETE else None
        if state != TrialState.RUNNING:
            storage.set_trial_state_values(trial_id, state, values)
    storage.create_new_trial(
        study_id, create_trial(state=TrialState.WAITING, system_attrs={"fixed": {"x": 1}})
    )
    finished = create_trial(
        values=[-math.inf, 2.0][: len(directions)],
        params={"choice": None, "int": 5},
        distributions={name: DISTRIBUTIONS[name][1] for name in ("choice", "int")},
        intermediate_values={5: math.nan},
        user_attrs={"k": [1]},
    )
    finished.datetime_start = datetime(2024, 1, 31, 23, 59, 59)
    finished.datetime_complete = datetime(2024, 7, 1, 12, 0, 0, 7)
    storage.create_new_trial(study_id, finished)
    return study_id


def commit(
    checkpoints: Checkpoints, storage: LocalStorage, study_id: int, state: Mapping[str, Any] | None
) -> None:
    """Returns when it is made."""
    checkpoints.begin(storage, study_id, state)
    checkpoints.finish()
