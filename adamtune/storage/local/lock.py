"""One process per local study."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from adamtune.errors import Refused
from adamtune.storage.local.database import faults
from adamtune.storage.location import companion, local_path


@contextmanager
def study_lock(location: str, study_name: str) -> Iterator[None]:
    """Holds the study for this process; the operating system frees it when the process dies.

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
    with faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise Refused(
                f"study {study_name} in {database} is in use by {_holder(path)}."
                " Wait until it ends, or run another study with --name."
            ) from error
    try:
        with faults(path):
            path.write_text(f"{os.getpid()}\n")
        yield
    finally:
        lock.release()


def check_free(location: str, study_name: str) -> None:
    """Says at once what ``study_lock`` would say: before imports that take seconds.

    Raises:
        Refused: another process holds the study.
        AdamtuneError: the lock file cannot be used.
    """
    database = local_path(location)
    if database is not None and companion(database, study_name, ".lock").exists():
        with study_lock(location, study_name):
            pass


def _holder(path: Path) -> str:
    try:
        return f"process {int(path.read_text())}"
    except (OSError, ValueError):  # not yet written, or (Windows) not readable while it is locked
        return "another process"
