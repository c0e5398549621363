"""Ids of new trials, where several processes write to one file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from adamtune.storage.local.database import transaction

BLOCK = 1024


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
            query = "DELETE FROM trials WHERE trial_id = ? AND study_id IS NULL"
            self._connection.execute(query, (self._last,))
        self._ids, self._last = iter(()), None

    def _reserve(self) -> int:
        with transaction(self._connection):
            (used,) = self._connection.execute("SELECT coalesce(max(trial_id), 0) FROM trials").fetchone()
            last = used + BLOCK
            self._connection.execute("INSERT INTO trials (trial_id, state) VALUES (?, 'FAIL')", (last,))
        self._last = last
        self._ids = iter(range(used + 2, last + 1))
        return int(used) + 1
