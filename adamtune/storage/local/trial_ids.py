"""Trial ids for several processes that write to one file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from adamtune.storage.local.database import transaction

BLOCK = 1024


class TrialIds:
    """Gives out trial ids long before the trials are written.

    An id is needed at once, when a trial is created, and no other process may use it meanwhile, Optuna's
    own storage included. SQLite gives a new row an id above the largest; so a row that belongs to no
    study, and that nothing reads, marks the end of a block of ids as taken. A trial that gets that
    id replaces it. A killed process leaves at most one such row.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._ids: Iterator[int] = iter(())
        self._last: int | None = None

    def next(self) -> int:
        """An id that nobody else gets."""
        trial_id = next(self._ids, None)
        return self._reserve() if trial_id is None else trial_id

    def release(self) -> None:
        """Gives back what is left of the block."""
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
