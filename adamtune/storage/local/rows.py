"""Optuna's objects as rows of the database, and back; and the ids of new rows."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from adamtune.errors import AdamtuneError
from adamtune.storage.local.database import transaction
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
    read_trials,
    to_local,
)
from adamtune.storage.optuna_private import FrozenStudy, new_frozen_study, trial_id
from adamtune.storage.records import StoredStudy, StoredTrial

ID_BLOCK = 1024
"""Trial ids that are reserved in one transaction, which costs a few milliseconds of syncing."""

# Trials repeat few distributions, and parsing one takes longer than reading its row.
_distribution = lru_cache(maxsize=4096)(json_to_distribution)


def frozen_study(stored: StoredStudy) -> FrozenStudy:
    """A stored study as Optuna lists it."""
    directions = [StudyDirection[each] for each in stored.directions]
    return new_frozen_study(stored.study_id, stored.name, directions, stored.user_attrs, stored.system_attrs)


def load_trials(connection: sqlite3.Connection, study_id: int, path: Path) -> list[FrozenTrial]:
    """Every trial of a study, by number.

    Raises:
        AdamtuneError: the trials are not numbered 0, 1, 2, ...
    """
    trials = [frozen_trial(stored) for stored in read_trials(connection, study_id)]
    if [trial.number for trial in trials] != list(range(len(trials))):
        raise AdamtuneError(
            f"{path}: the {len(trials)} trials of study {study_id} are not numbered 0, 1, 2, ..., so another"
            " program has changed it while it ran. `adamtune report` still reads it; use another name."
        )
    return trials


def frozen_trial(stored: StoredTrial) -> FrozenTrial:
    """A stored trial as Optuna's, equal to what its own storage reads."""
    distributions: dict[str, BaseDistribution] = {
        name: _distribution(text) for name, (_, text) in stored.internal_params.items()
    }
    return FrozenTrial(
        number=stored.number,
        state=TrialState[stored.state],
        # Optuna takes one of value and values.
        value=None,
        values=stored.values or None,
        datetime_start=to_local(stored.start),
        datetime_complete=to_local(stored.complete),
        params={
            name: distributions[name].to_external_repr(value)
            for name, (value, _) in stored.internal_params.items()
        },
        distributions=distributions,
        user_attrs=stored.user_attrs,
        system_attrs=stored.system_attrs,
        intermediate_values=stored.intermediate_values,
        trial_id=stored.trial_id,
    )


def stored_value(value: Any) -> tuple[str, Any]:
    """The JSON of an attribute, and the value that it will be read as, such as a list for a tuple.

    Raises:
        TypeError, ValueError: it has no JSON.
    """
    kind = type(value)
    if kind is int or kind is str or (kind is float and isfinite(value)):  # most of them
        return (json.dumps(value) if kind is str else repr(value)), value
    text = json.dumps(value)
    return text, json.loads(text)


class Changes:
    """The rows that changed since the last commit, exactly as Optuna's own storage would write them.

    Of several changes of one row, the last is kept.
    """

    def __init__(self) -> None:
        self._rows: dict[Table, dict[tuple[Any, ...], tuple[Any, ...]]] = {
            table: {} for table in (*OF_A_STUDY, *OF_A_TRIAL)
        }
        self._removed: list[tuple[int, int]] = []  # the trials and steps of intermediate values

    def __bool__(self) -> bool:
        return any(self._rows.values()) or bool(self._removed)

    def add_trial(self, study_id: int, trial: FrozenTrial) -> None:
        """Adds every row of a new trial."""
        number = trial_id(trial)
        self.set_state(study_id, trial)
        for name, value in trial.params.items():
            distribution = trial.distributions[name]
            self.set_param(number, name, distribution.to_internal_repr(value), distribution)
        for step, value in trial.intermediate_values.items():
            self.set_intermediate(number, step, value)
        for table, attrs in ((TRIAL_USER, trial.user_attrs), (TRIAL_SYSTEM, trial.system_attrs)):
            for key, value in attrs.items():
                self.set_attr(table, number, key, json.dumps(value))

    def set_state(self, study_id: int, trial: FrozenTrial) -> None:
        """Sets a trial's own row and its values."""
        self._rows[TRIALS][(trial_id(trial),)] = (
            trial.number,
            study_id,
            trial.state.name,
            from_datetime(trial.datetime_start),
            from_datetime(trial.datetime_complete),
        )
        for objective, value in enumerate(trial.values or ()):
            self._rows[VALUES][trial_id(trial), objective] = from_float(value)

    def set_param(self, trial_id: int, name: str, value: float, distribution: BaseDistribution) -> None:
        """Sets a parameter; ``value`` is Optuna's internal representation."""
        # SQLite would store a NumPy number as bytes.
        self._rows[PARAMS][trial_id, name] = float(value), distribution

    def set_intermediate(self, trial_id: int, step: int, value: float) -> None:
        """Sets an intermediate value."""
        self._rows[INTERMEDIATE][trial_id, int(step)] = from_float(value)

    def remove_intermediate(self, trial_id: int, steps: Sequence[int]) -> None:
        """Removes intermediate values, which may be among the changes or in the database."""
        for step in steps:
            self._rows[INTERMEDIATE].pop((trial_id, step), None)
            self._removed.append((trial_id, step))

    def set_attr(self, table: Table, owner: int, key: str, text: str) -> None:
        """Sets an attribute, as JSON, of the study or trial ``owner``."""
        self._rows[table][owner, key] = (text,)

    def drop_study(self, study_id: int, trial_ids: Collection[int]) -> None:
        """Drops the rows of a deleted study."""
        for tables, owners in ((OF_A_STUDY, {study_id}), (OF_A_TRIAL, set(trial_ids))):
            for table in tables:
                rows = self._rows[table]
                self._rows[table] = {key: row for key, row in rows.items() if key[0] not in owners}

    def write(self, connection: sqlite3.Connection) -> None:
        """Writes every row, in the caller's transaction; the rows are kept until ``clear``."""
        distributions = {id(each): each for _, each in self._rows[PARAMS].values()}
        texts = {key: distribution_to_json(each) for key, each in distributions.items()}  # trials share them
        params = {key: (value, texts[id(each)]) for key, (value, each) in self._rows[PARAMS].items()}
        for table, rows in (self._rows | {PARAMS: params}).items():
            # Tables come in the order of OF_A_TRIAL: foreign keys point at rows that are written first.
            connection.executemany(table.upsert, [(*key, *values) for key, values in rows.items()])
        connection.executemany(INTERMEDIATE.removal, self._removed)

    def clear(self) -> None:
        """Drops every row, after it was written."""
        for rows in self._rows.values():
            rows.clear()
        self._removed.clear()


class TrialIds:
    """Reserves the ids of trials before the trials are written.

    A trial has an id from its creation, before its row is committed, and no other process may use that id,
    Optuna's own storage included. SQLite gives a new row an id above the largest, so a row that belongs to
    no study marks the end of a block of reserved ids. The trial that gets this id replaces the row. A
    killed process leaves at most one such row, which nothing reads.

    Args:
        connection: an open connection to the database.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._ids: Iterator[int] = iter(())
        self._last: int | None = None

    def next(self) -> int:
        """The next id; no other process gets it."""
        trial_id = next(self._ids, None)
        return self._reserve() if trial_id is None else trial_id

    def release(self) -> None:
        """Frees the ids of the block that were not used."""
        if self._last is not None:
            # If a trial got the last id of the block, its row has a study and stays.
            query = "DELETE FROM trials WHERE trial_id = ? AND study_id IS NULL"
            self._connection.execute(query, (self._last,))
        self._ids, self._last = iter(()), None

    def _reserve(self) -> int:
        with transaction(self._connection):
            # Another program may have added trials since the last block.
            (used,) = self._connection.execute("SELECT coalesce(max(trial_id), 0) FROM trials").fetchone()
            last = used + ID_BLOCK
            # Optuna looks for WAITING trials to begin and RUNNING ones to end, but not for failed ones.
            self._connection.execute("INSERT INTO trials (trial_id, state) VALUES (?, 'FAIL')", (last,))
        self._last = last
        # The first id is returned here, so the block continues with the second.
        self._ids = iter(range(used + 2, last + 1))
        return int(used) + 1
