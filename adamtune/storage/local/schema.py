"""Statements that read and write Optuna's tables in SQLite; imports neither torch nor Optuna.

Optuna creates the tables. The statements are written for schema ``REVISION``; a file with another is
refused when it is opened.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from sys import intern
from typing import Any

from adamtune.storage.records import StoredStudy, StoredTrial

REVISION = "v3.2.0.a"


@dataclass(frozen=True)
class Table:
    """A table and its columns; ``key`` is its primary key or a unique constraint."""

    name: str
    key: tuple[str, ...]
    values: tuple[str, ...]

    @property
    def upsert(self) -> str:
        """The statement that inserts a row ``(*key, *values)``, or replaces its values."""
        columns = [f'"{column}"' for column in self.key + self.values]
        # Not INSERT OR REPLACE, which deletes the row and gives the new one another id.
        updates = ", ".join(f'"{column}" = excluded."{column}"' for column in self.values)
        marks = ", ".join("?" * len(columns))
        keys = ", ".join(columns[: len(self.key)])
        return (
            f"INSERT INTO {self.name} ({', '.join(columns)}) VALUES ({marks}) "
            f"ON CONFLICT ({keys}) DO UPDATE SET {updates}"
        )

    @property
    def removal(self) -> str:
        """The statement that deletes the row of a key."""
        return f"DELETE FROM {self.name} WHERE " + " AND ".join(f'"{column}" = ?' for column in self.key)


STUDY_USER = Table("study_user_attributes", ("study_id", "key"), ("value_json",))
STUDY_SYSTEM = Table("study_system_attributes", ("study_id", "key"), ("value_json",))
TRIALS = Table(
    "trials", ("trial_id",), ("number", "study_id", "state", "datetime_start", "datetime_complete")
)
PARAMS = Table("trial_params", ("trial_id", "param_name"), ("param_value", "distribution_json"))
VALUES = Table("trial_values", ("trial_id", "objective"), ("value", "value_type"))
INTERMEDIATE = Table(
    "trial_intermediate_values",
    ("trial_id", "step"),
    ("intermediate_value", "intermediate_value_type"),
)
TRIAL_USER = Table("trial_user_attributes", ("trial_id", "key"), ("value_json",))
TRIAL_SYSTEM = Table("trial_system_attributes", ("trial_id", "key"), ("value_json",))

OF_A_STUDY = (STUDY_USER, STUDY_SYSTEM)
OF_A_TRIAL = (TRIALS, PARAMS, VALUES, INTERMEDIATE, TRIAL_USER, TRIAL_SYSTEM)
"""The tables in the order of writing: foreign keys point at ``TRIALS``."""

_INFINITE = {math.inf: "INF_POS", -math.inf: "INF_NEG"}
_FLOATS = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}


def to_float(value: float | None, kind: str) -> float:
    """The number that a stored value and its type mean."""
    return _FLOATS[kind] if value is None else value


def from_float(number: float) -> tuple[float | None, str]:
    """A number as it is stored: SQL has no NaN and no infinities, so a type goes with it."""
    number = float(number)
    if math.isfinite(number):
        return number, "FINITE"
    return None, _INFINITE.get(number, "NAN")


def to_local(time: datetime | None) -> datetime | None:
    """A stored naive UTC time as naive local time, as Optuna shows it."""
    return None if time is None else time.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)


@lru_cache(maxsize=4096)  # the start of a trial is written again with its end
def from_datetime(time: datetime | None) -> str | None:
    """A naive local time as stored: naive UTC with microseconds."""
    if time is None:
        return None
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")


def read_trials(connection: sqlite3.Connection, study_id: int) -> list[StoredTrial]:
    """Every trial of a study, by number, in six queries for any number of trials; in a transaction."""
    query = (
        "SELECT trial_id, number, state, datetime_start, datetime_complete FROM trials WHERE study_id = ?"
        " ORDER BY number, trial_id"
    )
    trials = [
        StoredTrial(trial_id, number, state, _time(start), _time(complete))
        for trial_id, number, state, start, complete in connection.execute(query, (study_id,))
    ]
    by_id = {trial.trial_id: trial for trial in trials}
    # By param_id: in the order in which the parameters were suggested, as Optuna returns them.
    for trial_id, name, value, distribution in _rows(connection, PARAMS, "param_id", study_id):
        # Trials repeat few names and distributions: each text is in memory once.
        by_id[trial_id].internal_params[intern(name)] = value, intern(distribution)
    for trial_id, _, value, kind in _rows(connection, VALUES, "objective", study_id):
        by_id[trial_id].values.append(to_float(value, kind))
    for trial_id, step, value, kind in _rows(connection, INTERMEDIATE, "step", study_id):
        by_id[trial_id].intermediate_values[step] = to_float(value, kind)
    for trial_id, attrs in _attrs(connection, TRIAL_USER, study_id):
        by_id[trial_id].user_attrs = attrs
    for trial_id, attrs in _attrs(connection, TRIAL_SYSTEM, study_id):
        by_id[trial_id].system_attrs = attrs
    return trials


TOGETHER = 1000
"""Trials whose attributes are parsed together."""
_OF_STUDY = "WHERE trial_id IN (SELECT trial_id FROM trials WHERE study_id = ?)"


def _rows(connection: sqlite3.Connection, table: Table, order: str, study_id: int) -> sqlite3.Cursor:
    columns = ", ".join(f'"{column}"' for column in table.key + table.values)
    query = f"SELECT {columns} FROM {table.name} {_OF_STUDY} ORDER BY trial_id, {order}"
    return connection.execute(query, (study_id,))


def _attrs(
    connection: sqlite3.Connection, table: Table, study_id: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the id and all attributes of each trial that has some."""
    # One JSON text of many trials: that is parsed faster, and has one text of each name in memory.
    query = (
        "SELECT trial_id, '{' || group_concat(json_quote(key) || ':' || value_json) || '}'"
        f" FROM {table.name} {_OF_STUDY} GROUP BY trial_id"
    )
    rows = connection.execute(query, (study_id,))
    while found := rows.fetchmany(TOGETHER):
        parsed = json.loads(f"[{','.join(text for _, text in found)}]")
        yield from zip((trial_id for trial_id, _ in found), parsed, strict=True)


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def read_studies(connection: sqlite3.Connection) -> list[StoredStudy]:
    """Every study, oldest first."""
    rows = connection.execute("SELECT study_id, study_name FROM studies ORDER BY study_id").fetchall()
    return [_study(connection, study_id, name) for study_id, name in rows]


def find_study(connection: sqlite3.Connection, key: int | str) -> StoredStudy | None:
    """The study of this id or name, or None."""
    column = "study_id" if isinstance(key, int) else "study_name"
    query = f"SELECT study_id, study_name FROM studies WHERE {column} = ?"
    row = connection.execute(query, (key,)).fetchone()
    return None if row is None else _study(connection, *row)


def _study(connection: sqlite3.Connection, study_id: int, name: str) -> StoredStudy:
    query = "SELECT direction FROM study_directions WHERE study_id = ? ORDER BY objective"
    directions = [direction for (direction,) in connection.execute(query, (study_id,))]
    user, system = (_study_attrs(connection, table, study_id) for table in OF_A_STUDY)
    return StoredStudy(study_id, name, directions, user, system)


def _study_attrs(connection: sqlite3.Connection, table: Table, study_id: int) -> dict[str, Any]:
    # By rowid: in the order in which they were set.
    query = f"SELECT key, value_json FROM {table.name} WHERE study_id = ? ORDER BY rowid"
    return {key: json.loads(text) for key, text in connection.execute(query, (study_id,))}


def insert_study(connection: sqlite3.Connection, name: str, directions: Sequence[str]) -> int:
    """Adds a study and returns its id. Raises sqlite3.IntegrityError if the name is taken."""
    study_id = connection.execute("INSERT INTO studies (study_name) VALUES (?)", (name,)).lastrowid
    assert study_id is not None
    connection.executemany(
        "INSERT INTO study_directions (study_id, objective, direction) VALUES (?, ?, ?)",
        [(study_id, objective, direction) for objective, direction in enumerate(directions)],
    )
    return study_id


def remove_study(connection: sqlite3.Connection, study_id: int) -> None:
    """Deletes a study with all its rows; in the caller's transaction."""
    # Rows before those that they point at. Heartbeats are there if Optuna's own storage wrote to the file.
    for name in ["trial_heartbeats", *(table.name for table in reversed(OF_A_TRIAL[1:]))]:
        connection.execute(
            f"DELETE FROM {name} WHERE trial_id IN (SELECT trial_id FROM trials WHERE study_id = ?)",
            (study_id,),
        )
    for name in ["trials", "study_directions", *(table.name for table in OF_A_STUDY), "studies"]:
        connection.execute(f"DELETE FROM {name} WHERE study_id = ?", (study_id,))
