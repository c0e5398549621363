"""Stored rows as Optuna's objects."""

from __future__ import annotations

import sqlite3
from functools import lru_cache
from pathlib import Path

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages._in_memory import _StudyInfo
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from adamtune.errors import AdamtuneError
from adamtune.storage.local.schema import (
    STUDY_SYSTEM,
    STUDY_USER,
    StoredTrial,
    read_attrs,
    read_directions,
    read_trials,
    to_local,
)

_distribution = lru_cache(maxsize=4096)(json_to_distribution)


def load_study(connection: sqlite3.Connection, study_id: int, name: str) -> _StudyInfo:
    """A study without its trials, as Optuna's in-memory storage holds it."""
    info = _StudyInfo(name, [StudyDirection[each] for each in read_directions(connection, study_id)])
    info.user_attrs = read_attrs(connection, STUDY_USER, study_id)
    info.system_attrs = read_attrs(connection, STUDY_SYSTEM, study_id)
    return info


def frozen_study(study_id: int, info: _StudyInfo) -> FrozenStudy:
    """A study as Optuna lists it."""
    return FrozenStudy(
        study_name=info.name,
        direction=None,
        directions=info.directions,
        user_attrs=info.user_attrs,
        system_attrs=info.system_attrs,
        study_id=study_id,
    )


def load_trials(connection: sqlite3.Connection, study_id: int, path: Path) -> list[FrozenTrial]:
    """Every trial of a study, by number.

    Raises:
        AdamtuneError: the trials are not numbered 0, 1, 2, ...
    """
    trials = [frozen_trial(stored) for stored in read_trials(connection, study_id)]
    numbers = [trial.number for trial in trials]
    if numbers != list(range(len(trials))):
        raise AdamtuneError(
            f"{path}: the {len(trials)} trials of study {study_id} are not numbered 0, 1, 2, ..., so another"
            " program has changed it while it ran. `adamtune report` still reads it; go on with --name."
        )
    return trials


def frozen_trial(stored: StoredTrial) -> FrozenTrial:
    """A stored trial as Optuna's, equal to what its own storage reads."""
    distributions: dict[str, BaseDistribution] = {
        name: _distribution(text) for name, (_, text) in stored.params.items()
    }
    return FrozenTrial(
        number=stored.number,
        state=TrialState[stored.state],
        value=None,
        values=stored.values or None,
        datetime_start=to_local(stored.start),
        datetime_complete=to_local(stored.complete),
        params={
            name: distributions[name].to_external_repr(value) for name, (value, _) in stored.params.items()
        },
        distributions=distributions,
        user_attrs=stored.user_attrs,
        system_attrs=stored.system_attrs,
        intermediate_values=stored.intermediate,
        trial_id=stored.trial_id,
    )
