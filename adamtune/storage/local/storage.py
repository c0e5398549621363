"""An Optuna storage that is read from memory; its changes are committed together to SQLite."""

from __future__ import annotations

import copy
import math
import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.exceptions import DuplicatedStudyError
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from typing_extensions import override

from adamtune.errors import AdamtuneError
from adamtune.storage.local.database import BUSY_SECONDS, connect, create, database_errors, transaction
from adamtune.storage.local.rows import Changes, TrialIds, frozen_study, load_trials, stored_value
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
from adamtune.storage.optuna_private import (
    DEFAULT_STUDY_NAME_PREFIX,
    FrozenStudy,
    MemoryStorage,
)
from adamtune.storage.optuna_private import (
    study_id as id_of_study,
)
from adamtune.storage.optuna_private import (
    trial_id as id_of_trial,
)


class LocalStorage(MemoryStorage):
    """Studies in one SQLite file, in Optuna's schema; trials are written by :meth:`commit` alone.

    A study is read completely when it is first asked for, and then kept in memory, so no other process may
    write to it (:func:`adamtune.storage.local.lock.study_lock`). Other
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

    # Optuna pickles the storage of a study that is used in several processes; a connection cannot be pickled.
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
        with self.lock, database_errors(self.path):
            if self._changes:
                # SQLite goes on writing to a deleted file without an error.
                if not self.path.exists() or self.path.stat().st_ino != self._file:
                    raise AdamtuneError(
                        f"{self.path}: this database was deleted or replaced while it was in use."
                        " What was recorded in it is lost, unless there is a copy."
                    )
                with transaction(self._connection):
                    self._changes.write(self._connection)
                self._changes.clear()

    def close(self) -> None:
        """Closes the file; changes that were not committed are dropped."""
        with self.lock:
            try:
                with database_errors(self.path):
                    self._ids.release()
            finally:
                self._connection.close()

    @override
    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        name = DEFAULT_STUDY_NAME_PREFIX + str(uuid.uuid4()) if study_name is None else study_name
        with self.lock, database_errors(self.path):
            try:
                with transaction(self._connection):
                    # At once, unlike trials: the name must be taken before a second process can use it.
                    study_id = insert_study(self._connection, name, [each.name for each in directions])
            except sqlite3.IntegrityError as error:
                raise DuplicatedStudyError(f"{self.path} has a study {name} already.") from error
            self.load_study(study_id)
            return study_id

    @override
    def delete_study(self, study_id: int) -> None:
        with self.lock, database_errors(self.path):
            trials = self.get_all_trials(study_id, deepcopy=False)
            with transaction(self._connection):
                remove_study(self._connection, study_id)
            self._changes.drop_study(study_id, list(map(id_of_trial, trials)))
            super().delete_study(study_id)

    @override
    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        text, kept = stored_value(value)
        with self.lock:
            super().set_study_user_attr(study_id, key, kept)
            self._changes.set_attr(STUDY_USER, study_id, key, text)

    @override
    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        text, kept = stored_value(value)
        with self.lock:
            super().set_study_system_attr(study_id, key, kept)
            self._changes.set_attr(STUDY_SYSTEM, study_id, key, text)

    @override
    def get_study_id_from_name(self, study_name: str) -> int:
        with self.lock:
            try:
                return super().get_study_id_from_name(study_name)
            except KeyError:  # it is not in memory yet, or there is none
                self._load(study_name)
            return super().get_study_id_from_name(study_name)

    @override
    def get_all_studies(self) -> list[FrozenStudy]:
        with self.lock, database_errors(self.path), transaction(self._connection, "DEFERRED"):
            # A study in memory may have attributes that are not committed yet.
            loaded = {id_of_study(each): each for each in super().get_all_studies()}
            stored = read_studies(self._connection)
            return [loaded.get(each.study_id) or frozen_study(each) for each in stored]

    @override
    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        template = None if template_trial is None else _storable(template_trial)
        with self.lock:
            self.trials(study_id)  # loads the study, or raises KeyError
            with database_errors(self.path):
                self.set_next_trial_id(self._ids.next())
            trial_id = super().create_new_trial(study_id, template)
            self._changes.add_trial(study_id, self.get_trial(trial_id))
            return trial_id

    @override
    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        with self.lock:
            super().set_trial_param(trial_id, param_name, param_value_internal, distribution)
            self._changes.set_param(trial_id, param_name, param_value_internal, distribution)

    @override
    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        _check_values(values)
        with self.lock:
            changed = super().set_trial_state_values(trial_id, state, values)
            if changed:
                self._changes.set_state(self.study_of(trial_id), self.get_trial(trial_id))
            return changed

    @override
    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        with self.lock:
            trial = self.replaced(trial_id)
            trial.intermediate_values = trial.intermediate_values | {step: intermediate_value}
            self._changes.set_intermediate(trial_id, step, intermediate_value)

    def remove_evaluations(self, trial_id: int, steps: Sequence[int]) -> None:
        """Removes the intermediate values at these steps of a trial that ended."""
        with self.lock:
            # Whoever has the trial has this object: with a changed copy, all values would stay in memory.
            trial, gone = self.get_trial(trial_id), set(steps)
            values = trial.intermediate_values.items()
            trial.intermediate_values = {step: value for step, value in values if step not in gone}
            self._changes.remove_intermediate(trial_id, steps)

    @override
    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.set_trial_user_attrs(trial_id, {key: value})

    def set_trial_user_attrs(self, trial_id: int, values: Mapping[str, Any]) -> None:
        """Sets user attributes of a trial, by name."""
        stored = {key: stored_value(value) for key, value in values.items()}
        with self.lock:
            trial = self.replaced(trial_id)
            trial.user_attrs = trial.user_attrs | {key: kept for key, (_, kept) in stored.items()}
            for key, (text, _) in stored.items():
                self._changes.set_attr(TRIAL_USER, trial_id, key, text)

    @override
    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        text, kept = stored_value(value)
        with self.lock:
            super().set_trial_system_attr(trial_id, key, kept)
            self._changes.set_attr(TRIAL_SYSTEM, trial_id, key, text)

    @override
    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        with self.lock:
            self.trials(study_id)  # loads the study, which the base class does not check here
            return super().get_trial_id_from_study_id_trial_number(study_id, trial_number)

    @override
    def load_study(self, study_id: int) -> None:
        self._load(study_id)

    @override
    def load_study_of(self, trial_id: int) -> None:
        with database_errors(self.path):
            # A row without a study only reserves ids (TrialIds).
            query = "SELECT study_id FROM trials WHERE trial_id = ? AND study_id IS NOT NULL"
            row = self._connection.execute(query, (trial_id,)).fetchone()
        if row is not None:
            self._load(row[0])

    def _load(self, key: int | str) -> None:
        """Reads the study of this id or name into memory, if there is one."""
        with database_errors(self.path), transaction(self._connection, "DEFERRED"):
            study = find_study(self._connection, key)
            if study is not None:
                trials = load_trials(self._connection, study.study_id, self.path)
                self.add_study(frozen_study(study), trials)


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
    _, trial.user_attrs = stored_value(template.user_attrs)
    _, trial.system_attrs = stored_value(template.system_attrs)
    return trial
