"""The lock of a local study: one process trains it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from adamtune.errors import Refused
from adamtune.storage.local.database import database_errors
from adamtune.storage.location import companion, local_path

PROBE_SECONDS = 0.1
"""How long ``study_lock`` waits: ``is_in_use`` of another process holds the lock for a moment."""


@contextmanager
def study_lock(location: str, study_name: str) -> Iterator[None]:
    """Locks the study for this process; the operating system unlocks it when the process dies.

    A study on a database server is not locked: several processes share its trials.

    Raises:
        Refused: another process holds it; the message has its process id.
        AdamtuneError: the lock file cannot be made.
    """
    database = local_path(location)
    if database is None:
        yield
        return
    path = companion(database, study_name, ".lock")
    lock = FileLock(path)
    with database_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=PROBE_SECONDS, poll_interval=PROBE_SECONDS / 10)
        except Timeout as error:
            raise Refused(
                f"study {study_name} in {database} is in use by {_holder(path)}."
                " Wait until it ends, or run another study under another name."
            ) from error
    try:
        with database_errors(path):
            path.write_text(f"{os.getpid()}\n")
        yield
    finally:
        # The file stays: a process that holds a deleted lock and one that makes a new file would both have
        # the lock.
        lock.release()


def check_free(location: str, study_name: str) -> None:
    """Checks that ``study_lock`` will succeed, before imports that take seconds.

    Raises:
        Refused: another process holds the study.
        AdamtuneError: the lock file cannot be used.
    """
    database = local_path(location)
    # Without a lock file nobody holds the study, and none is made for a search that may yet be refused.
    if database is not None and companion(database, study_name, ".lock").exists():
        with study_lock(location, study_name):
            pass


def is_in_use(database: Path, study_name: str) -> bool:
    """Whether a process holds the lock; True where this user may not open the lock file. Creates no file."""
    path = companion(database, study_name, ".lock")
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except (Timeout, OSError):
        return True


def _holder(path: Path) -> str:
    try:
        return f"process {int(path.read_text())}"
    except (OSError, ValueError):  # not yet written, or (Windows) not readable while it is locked
        return "another process"
