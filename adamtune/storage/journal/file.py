"""The file of a journal: one change a line, as JSON in Optuna's format."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from adamtune.errors import AdamtuneError, Refused
from adamtune.storage.journal.lock import journal_lock

BEGIN = b'{"op_code":'
"""What each line begins with."""


class JournalFile(BaseJournalBackend):
    """Reads a journal from where it was last read, and appends to it.

    What follows the last line break is never read: another process is writing it, or died at it. The next
    process that writes removes it.

    Args:
        path: an existing file.

    Raises:
        Refused: it is no journal.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # The next line, counted from 0, and where it begins.
        self._number, self._offset = 0, 0
        self._locked = False
        self._is_current = False
        self._pending: list[bytes] = []
        with path.open("rb") as file:
            self._check(file.read(len(BEGIN)))

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yields the changes from this number on, and what this transaction has added.

        Raises:
            AdamtuneError: the file is damaged, or is shorter than it was.
        """
        if log_number_from < self._number:
            self._number, self._offset = 0, 0
        # While this process holds the lock, nobody else appends.
        if not self._locked or not self._is_current:
            yield from self._read(log_number_from)
            self._is_current = self._locked
        for line in self._pending[max(0, log_number_from - self._number) :]:
            yield json.loads(line)

    def append_logs(self, logs: Sequence[dict[str, Any]]) -> None:
        """Adds changes: in the file, or at the end of the transaction."""
        lines = [json.dumps(each, separators=(",", ":")).encode() + b"\n" for each in logs]
        with self.transaction():
            self._pending += lines

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Locks the journal; what is added in the block is written at its end, also where it raises."""
        if self._locked:
            yield
            return
        with journal_lock(self._path) as descriptor:
            self._locked, self._is_current = True, False
            try:
                yield
            finally:
                try:
                    self._write(descriptor)
                finally:
                    self._locked, self._pending = False, []

    def _read(self, first: int) -> Iterator[dict[str, Any]]:
        with self._path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < self._offset:
                raise AdamtuneError(
                    f"{self._path}: this journal is shorter than it was a moment ago: another program has"
                    " replaced or cut it. Put a copy of it back, then try again."
                )
            file.seek(self._offset)
            for line in file:
                # On a network file system, what another machine is writing may be read as zeros.
                if not line.endswith(b"\n") or b"\0" in line:
                    return
                self._number += 1
                self._offset += len(line)
                if self._number > first:
                    yield self._parse(line)

    def _parse(self, line: bytes) -> dict[str, Any]:
        try:
            change = json.loads(line)
            change["op_code"], change["worker_id"]
        except (ValueError, TypeError, KeyError) as error:
            self._check(line if self._number == 1 else BEGIN)
            raise AdamtuneError(
                f"{self._path}:{self._number}: this line of the journal is damaged. Restore the file from a"
                " backup, or delete the line: what it recorded is lost then."
            ) from error
        return change  # type: ignore[no-any-return]

    def _write(self, descriptor: int) -> None:
        if not self._pending:
            return
        end = os.fstat(descriptor).st_size
        unread = os.pread(descriptor, end - self._offset, self._offset)
        whole = unread.rfind(b"\n") + 1
        if whole < len(unread):
            self._check(unread[whole:])
            os.ftruncate(descriptor, self._offset + whole)
        data = b"".join(self._pending)
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)

    def _check(self, line: bytes) -> None:
        """Raises Refused if a line cannot be one of a journal; it may be cut off."""
        begin = line[: len(BEGIN)]
        if begin != BEGIN[: len(begin)]:
            raise Refused(
                f"{self._path}: this file is no journal of Optuna, and was left as it is. Name another file."
            )
