"""What has to be written: the rows that changed since the last commit."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.trial import FrozenTrial

from adamtune.storage.local.schema import (
    INTERMEDIATE,
    OF_A_STUDY,
    OF_A_TRIAL,
    PARAMS,
    TRIAL_SYSTEM,
    TRIAL_USER,
    TRIALS,
    VALUES,
    Table,
    from_datetime,
    from_float,
)


class Changes:
    """Rows by table and key, exactly as Optuna's own storage would write them; the last one of a key wins."""

    def __init__(self) -> None:
        self._rows: dict[Table, dict[tuple[Any, ...], tuple[Any, ...]]] = {
            table: {} for table in (*OF_A_STUDY, *OF_A_TRIAL)
        }

    def __bool__(self) -> bool:
        return any(self._rows.values())

    def trial(self, study_id: int, trial: FrozenTrial) -> None:
        """Everything of a new trial."""
        trial_id = trial._trial_id
        self.state(study_id, trial)
        for name, value in trial.params.items():
            distribution = trial.distributions[name]
            self.param(trial_id, name, distribution.to_internal_repr(value), distribution)
        for step, value in trial.intermediate_values.items():
            self.reported(trial_id, step, value)
        for table, attrs in ((TRIAL_USER, trial.user_attrs), (TRIAL_SYSTEM, trial.system_attrs)):
            for key, value in attrs.items():
                self.attr(table, trial_id, key, json.dumps(value))

    def state(self, study_id: int, trial: FrozenTrial) -> None:
        """A trial's own row and its values."""
        self._rows[TRIALS][(trial._trial_id,)] = (
            trial.number,
            study_id,
            trial.state.name,
            from_datetime(trial.datetime_start),
            from_datetime(trial.datetime_complete),
        )
        for objective, value in enumerate(trial.values or ()):
            self._rows[VALUES][trial._trial_id, objective] = from_float(value)

    def param(self, trial_id: int, name: str, value: float, distribution: BaseDistribution) -> None:
        """A parameter, in Optuna's internal representation."""
        self._rows[PARAMS][trial_id, name] = float(value), distribution_to_json(distribution)

    def reported(self, trial_id: int, step: int, value: float) -> None:
        """An intermediate value."""
        self._rows[INTERMEDIATE][trial_id, int(step)] = from_float(value)

    def attr(self, table: Table, owner: int, key: str, text: str) -> None:
        """An attribute, as JSON, of the study or trial ``owner``."""
        self._rows[table][owner, key] = (text,)

    def forget(self, study_id: int, trial_ids: Collection[int]) -> None:
        """Drops what belongs to a deleted study."""
        for tables, owners in ((OF_A_STUDY, {study_id}), (OF_A_TRIAL, set(trial_ids))):
            for table in tables:
                rows = self._rows[table]
                self._rows[table] = {key: row for key, row in rows.items() if key[0] not in owners}

    def write(self, connection: sqlite3.Connection) -> None:
        """Puts every row into the database. Wants a write transaction; forgets nothing."""
        for table, rows in self._rows.items():
            connection.executemany(table.upsert, [(*key, *values) for key, values in rows.items()])

    def clear(self) -> None:
        """Forgets everything: it is written."""
        for rows in self._rows.values():
            rows.clear()
