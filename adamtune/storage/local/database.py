"""Connections to a study database in SQLite, and messages for its failures; imports no Optuna."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from adamtune.errors import AdamtuneError, Refused, UsageError
from adamtune.files import sync, use_cached
from adamtune.storage.local.schema import REVISION

BUSY_SECONDS = 10.0
"""How long a connection waits for a lock that another program holds."""

_KEPT = "Nothing that was committed is lost."
_MEANINGS: dict[str, tuple[type[AdamtuneError], str]] = {
    "SQLITE_FULL": (
        AdamtuneError,
        f"the disk is full. {_KEPT} Free some space, then try again.",
    ),
    "SQLITE_BUSY": (
        AdamtuneError,
        f"another program holds a lock on it. {_KEPT} Close that program, then try again.",
    ),
    "SQLITE_READONLY": (
        AdamtuneError,
        f"it cannot be written: the file or its folder is read-only. {_KEPT}"
        " Change the permissions, or name another file as the storage.",
    ),
    "SQLITE_CANTOPEN": (
        AdamtuneError,
        "it cannot be opened: it is no file, or the permissions of the file or its folder forbid it."
        " Change them, or name another file as the storage.",
    ),
    "SQLITE_NOTADB": (
        Refused,
        "it is not a study database, and was left as it is. Name another file as the storage.",
    ),
    "SQLITE_CORRUPT": (
        AdamtuneError,
        "the file is damaged (cut short, or overwritten in part), and was left as it is. Put a backup in its"
        ' place, or save what can be read with `sqlite3 FILE ".recover" | sqlite3 NEW`.',
    ),
    "SQLITE_IOERR": (
        AdamtuneError,
        f"the disk reported an error, or is full. {_KEPT} Check the disk, then try again.",
    ),
}


@contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Turns failures of SQLite on ``path`` into messages, also where Optuna wraps them.

    Raises:
        AdamtuneError: full disk, lock, permissions, damage.
        Refused: the file is not a database.
    """
    try:
        yield
    except AdamtuneError:
        raise
    except OSError as error:
        raise AdamtuneError(
            f"{error.filename or path}: {error.strerror or error}."
            " Remove the cause, or name another file as the storage."
        ) from error
    except Exception as error:
        cause: BaseException | None = error
        # Optuna raises its own error from SQLAlchemy's, which was raised from SQLite's.
        while cause is not None and not isinstance(cause, sqlite3.Error):
            cause = cause.__cause__
        name = getattr(cause, "sqlite_errorname", "")
        for prefix, (kind, text) in _MEANINGS.items():
            # An extended code, such as SQLITE_IOERR_FSYNC, begins with the name of its kind.
            if name.startswith(prefix):
                raise kind(f"{path}: {text}\n({cause}, {name})") from error
        raise  # a defect of the program


def connect(path: Path, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """Opens an existing study database to be read and written, in write-ahead mode.

    A commit is synced to the disk, so that it survives a power cut too; readers are never blocked.

    Raises:
        AdamtuneError: it cannot be opened or written.
        Refused: it is something else, or of another schema.
    """
    connection = _open(f"{path.absolute().as_uri()}?mode=rw", path, busy_seconds)
    try:
        with database_errors(path):
            connection.execute("PRAGMA journal_mode = WAL")
            # NORMAL could lose the last commits in a power cut, while the checkpoint of the one before is
            # deleted.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def read_only(path: Path, busy_seconds: float = BUSY_SECONDS) -> Iterator[sqlite3.Connection]:
    """A read-only connection that sees one state of the database throughout; never creates a file.

    Raises:
        UsageError: there is no such file.
        AdamtuneError, Refused: as :func:`connect`.
    """
    if not path.exists():
        raise UsageError(
            f"{path}: there is no such file. Run `adamtune search CONFIG` first,"
            " or name another file as the storage."
        )
    uri = f"{path.absolute().as_uri()}?mode=ro"
    try:
        connection = _open(uri, path, busy_seconds)
    except AdamtuneError:
        # In a read-only folder SQLite cannot make the files of write-ahead mode. With no such file
        # left by a writer, the database file alone is complete.
        if path.with_name(path.name + "-wal").exists():
            raise
        connection = _open(f"{uri}&immutable=1", path, busy_seconds)
    try:
        with database_errors(path), transaction(connection, "DEFERRED"):
            yield connection
    finally:
        connection.close()


@contextmanager
def transaction(connection: sqlite3.Connection, mode: str = "IMMEDIATE") -> Iterator[None]:
    """Commits every statement of the block, or none where it raises."""
    # IMMEDIATE takes the lock for writing at once. A transaction that reads first and writes later fails,
    # without waiting, if another program has written in between.
    connection.execute(f"BEGIN {mode}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # On a full disk SQLite has rolled back already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _open(uri: str, path: Path, busy_seconds: float) -> sqlite3.Connection:
    with database_errors(path):
        # With isolation_level None, Python begins no transactions of its own. Commits come from another
        # thread, under the storage's lock.
        connection = sqlite3.connect(
            uri, uri=True, timeout=busy_seconds, isolation_level=None, check_same_thread=False
        )
        try:
            _check_schema(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def _check_schema(connection: sqlite3.Connection, path: Path) -> None:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not {"studies", "trials", "alembic_version"} <= tables:
        raise Refused(
            f"{path}: this SQLite database holds no studies of Optuna, and was left as it is."
            " Name another file as the storage."
        )
    (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone() or ("unknown",)
    if revision == REVISION:
        return
    # A revision is like v3.2.0.a, and its numbers can be compared.
    older = [int(part) for part in re.findall(r"\d+", revision)] < [
        int(part) for part in re.findall(r"\d+", REVISION)
    ]
    advice = (
        f"Upgrade it with `optuna storage upgrade --storage sqlite:///{path}` (keep a copy)."
        if older
        else "It is of a newer Optuna: update adamtune, or name another file as the storage."
    )
    raise Refused(
        f"{path}: its schema is {revision}, and this adamtune knows {REVISION}."
        f" It was left as it is. {advice}"
    )


def create(path: Path) -> None:
    """Creates an empty study database at ``path`` and its folder, unless a file with content is there.

    The file appears complete or not at all, also when the process is killed, the power is cut, or two
    processes do it at once.

    Raises:
        AdamtuneError: it cannot be written.
    """
    with database_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if _has_content(path):
            return
        # Without a lock, the second of two processes would replace the first one's file with its study.
        with FileLock(path.with_name(path.name + ".lock")):
            if not _has_content(path):
                draft = path.with_name(path.name + ".new")
                draft.unlink(missing_ok=True)
                _fill(draft)
                sync(draft)
                os.replace(draft, path)
                sync(path.parent)


def _has_content(path: Path) -> bool:
    # An empty file, such as `touch` makes, is filled; a folder or a device is left to `connect`, which says
    # so.
    return path.exists() and (not path.is_file() or path.stat().st_size > 0)


def _fill(path: Path) -> None:
    """Writes a copy of the empty database in the cache: Optuna takes half a second to create one."""
    import optuna

    path.write_bytes(use_cached(f"empty-{optuna.__version__}.db", _make, Path.read_bytes))


def _make(path: Path) -> None:
    from optuna.storages import RDBStorage

    # The creator spares the path from being read as a URL and as a template.
    storage = RDBStorage("sqlite://", engine_kwargs={"creator": lambda: sqlite3.connect(path)})
    storage.remove_session()
    storage.engine.dispose()
