"""An Optuna storage that reads from memory and commits whole rounds to SQLite."""

from __future__ import annotations

import copy
import json
import math
import sqlite3
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.exceptions import DuplicatedStudyError
from optuna.storages import InMemoryStorage
from optuna.storages._base import DEFAULT_STUDY_NAME_PREFIX
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState
from typing_extensions import override

from adamtune.errors import AdamtuneError
from adamtune.storage.local.changes import Changes
from adamtune.storage.local.database import BUSY_SECONDS, connect, create, faults, transaction
from adamtune.storage.local.rows import frozen_study, load_study, load_trials
from adamtune.storage.local.schema import (
    STUDY_SYSTEM,
    STUDY_USER,
    TRIAL_SYSTEM,
    TRIAL_USER,
    find_study,
    insert_study,
    read_studies,
    remove_study,
)
from adamtune.storage.local.trial_ids import TrialIds


class LocalStorage(InMemoryStorage):
    """Studies in one SQLite file, in Optuna's schema; trials are written by :meth:`commit` alone.

    A study is read when it is first asked for, in bulk; from then on this object answers for it from
    memory, so no other process may write to it (:func:`adamtune.storage.lock.study_lock`). Other
    studies of the file, and readers, are not disturbed. Studies are created and deleted at once;
    everything else, attributes of studies too, is written by :meth:`commit`. Thread-safe.

    Args:
        path: the database file; it and its folder are created if missing.
        busy_seconds: how long to wait for a lock that another program holds.

    Raises:
        AdamtuneError: the file cannot be opened or written.
        Refused: the file is no study database, or of another schema.
    """

    def __init__(self, path: str | Path, busy_seconds: float = BUSY_SECONDS) -> None:
        super().__init__()
        self.path = Path(path)
        self.busy_seconds = busy_seconds
        create(self.path)
        self._connection = connect(self.path, busy_seconds)
        self._file = self.path.stat().st_ino
        self._ids = TrialIds(self._connection)
        self._changes = Changes()

    def __getstate__(self) -> dict[str, Any]:
        self.commit()
        return {"path": self.path, "busy_seconds": self.busy_seconds}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def commit(self) -> None:
        """Writes every change since the last commit, in one transaction that is on the disk on return.

        Raises:
            AdamtuneError: nothing was written; the changes are kept, and the next commit writes them.
        """
        with self._lock, faults(self.path):
            if self._changes:
                if not self.path.exists() or self.path.stat().st_ino != self._file:
                    raise AdamtuneError(
                        f"{self.path}: this database was deleted or replaced while it was in use."
                        " What was recorded in it is lost, unless there is a copy."
                    )
                with transaction(self._connection):
                    self._changes.write(self._connection)
                self._changes.clear()

    def close(self) -> None:
        """Lets the file go; what was not committed is dropped."""
        with self._lock:
            try:
                with faults(self.path):
                    self._ids.release()
            finally:
                self._connection.close()

    @override
    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        name = DEFAULT_STUDY_NAME_PREFIX + str(uuid.uuid4()) if study_name is None else study_name
        with self._lock, faults(self.path):
            try:
                with transaction(self._connection):
                    study_id = insert_study(self._connection, name, [each.name for each in directions])
            except sqlite3.IntegrityError as error:
                raise DuplicatedStudyError(f"{self.path} has a study {name} already.") from error
            self._load(study_id, name)
            return study_id

    @override
    def delete_study(self, study_id: int) -> None:
        with self._lock, faults(self.path):
            self._check_study_id(study_id)
            with transaction(self._connection):
                remove_study(self._connection, study_id)
            self._changes.forget(study_id, [trial._trial_id for trial in self._studies[study_id].trials])
            super().delete_study(study_id)

    @override
    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        text = json.dumps(value)
        with self._lock:
            super().set_study_user_attr(study_id, key, json.loads(text))
            self._changes.attr(STUDY_USER, study_id, key, text)

    @override
    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        text = json.dumps(value)
        with self._lock:
            super().set_study_system_attr(study_id, key, json.loads(text))
            self._changes.attr(STUDY_SYSTEM, study_id, key, text)

    @override
    def get_study_id_from_name(self, study_name: str) -> int:
        with self._lock:
            if study_name not in self._study_name_to_id:
                with faults(self.path):
                    study_id = find_study(self._connection, study_name)
                if study_id is not None:
                    self._load(study_id, study_name)
            return super().get_study_id_from_name(study_name)

    @override
    def get_all_studies(self) -> list[FrozenStudy]:
        with self._lock, faults(self.path), transaction(self._connection, "DEFERRED"):
            return [
                self._build_frozen_study(study_id)
                if study_id in self._studies
                else frozen_study(study_id, load_study(self._connection, study_id, name))
                for study_id, name in read_studies(self._connection)
            ]

    @override
    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        template = None if template_trial is None else _storable(template_trial)
        with self._lock:
            self._check_study_id(study_id)
            with faults(self.path):
                self._max_trial_id = self._ids.next() - 1
            trial_id = super().create_new_trial(study_id, template)
            self._changes.trial(study_id, self._get_trial(trial_id))
            return trial_id

    @override
    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        with self._lock:
            super().set_trial_param(trial_id, param_name, param_value_internal, distribution)
            self._changes.param(trial_id, param_name, param_value_internal, distribution)

    @override
    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        _check_values(values)
        with self._lock:
            changed = super().set_trial_state_values(trial_id, state, values)
            if changed:
                study_id, _ = self._trial_id_to_study_id_and_number[trial_id]
                self._changes.state(study_id, self._get_trial(trial_id))
            return changed

    @override
    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        with self._lock:
            super().set_trial_intermediate_value(trial_id, step, intermediate_value)
            self._changes.reported(trial_id, step, intermediate_value)

    @override
    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        text = json.dumps(value)
        with self._lock:
            super().set_trial_user_attr(trial_id, key, json.loads(text))
            self._changes.attr(TRIAL_USER, trial_id, key, text)

    @override
    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        text = json.dumps(value)
        with self._lock:
            super().set_trial_system_attr(trial_id, key, json.loads(text))
            self._changes.attr(TRIAL_SYSTEM, trial_id, key, text)

    @override
    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        with self._lock:
            self._check_study_id(study_id)
            return super().get_trial_id_from_study_id_trial_number(study_id, trial_number)

    @override
    def _check_study_id(self, study_id: int) -> None:
        """Loads the study on first use: the base class checks the id in every method."""
        if study_id not in self._studies:
            row = self._one("SELECT study_name FROM studies WHERE study_id = ?", study_id)
            if row is not None:
                self._load(study_id, row[0])
        super()._check_study_id(study_id)

    @override
    def _check_trial_id(self, trial_id: int) -> None:
        if trial_id not in self._trial_id_to_study_id_and_number:
            row = self._one("SELECT study_id FROM trials WHERE trial_id = ?", trial_id)
            if row is not None and row[0] is not None:
                self._check_study_id(row[0])
        super()._check_trial_id(trial_id)

    def _one(self, query: str, key: int) -> tuple[Any, ...] | None:
        with faults(self.path):
            row: tuple[Any, ...] | None = self._connection.execute(query, (key,)).fetchone()
            return row

    def _load(self, study_id: int, name: str) -> None:
        with faults(self.path), transaction(self._connection, "DEFERRED"):
            info = load_study(self._connection, study_id, name)
            info.trials = load_trials(self._connection, study_id, self.path)
        self._studies[study_id] = info
        self._study_name_to_id[name] = study_id
        self._prev_waiting_trial_number[study_id] = 0
        for trial in info.trials:
            info.param_distribution.update(trial.distributions)
            self._trial_id_to_study_id_and_number[trial._trial_id] = study_id, trial.number
            self._update_cache(trial._trial_id, study_id)


def _check_values(values: Sequence[float] | None) -> None:
    """Optuna's schema has no NaN for a trial's value."""
    if values is not None and any(math.isnan(value) for value in values):
        raise ValueError(f"a trial's value cannot be NaN, got {values}")


def _storable(template: FrozenTrial) -> FrozenTrial:
    """The trial as it will be read again; raises ValueError or TypeError where it cannot be written."""
    _check_values(template.values)
    for name, value in template.params.items():
        template.distributions[name].to_internal_repr(value)
    trial = copy.copy(template)
    trial.user_attrs = json.loads(json.dumps(template.user_attrs))
    trial.system_attrs = json.loads(json.dumps(template.system_attrs))
    return trial
