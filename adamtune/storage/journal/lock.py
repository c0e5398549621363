"""The lock of a journal, which a process holds while it writes, and which a killed process leaves at once."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from adamtune.errors import AdamtuneError

STALE_SECONDS = 30.0
"""A lock file that does not change for so long was left by a dead process; Optuna waits as long."""

POLL_SECONDS = 0.002
UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def journal_lock(path: Path) -> Iterator[int]:
    """Locks the journal, and yields its file descriptor, to read and to append.

    Two locks are held. The operating system's excludes other processes of adamtune, and is released when its
    process dies. Optuna's lock file excludes other programs; of adamtune's processes only the one that holds
    the first lock has it, so that one that is left by a killed process is known to be stale.

    Raises:
        AdamtuneError: the file system has no locks.
        OSError: the file cannot be opened or the lock file cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            raise AdamtuneError(
                f"{path}: the file system of this journal has no locks ({error.strerror}). Mount it with"
                " locks (NFS 4; Lustre with -o flock), or use a database server (docs/scale.md)."
            ) from error
        with _lock_file(Path(f"{path}.lock")):
            yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _lock_file(path: Path) -> Iterator[None]:
    """Optuna's lock: a file that only one process can create."""
    machine = f"adamtune on {platform.node()} "
    seen, since = None, time.monotonic()
    while True:
        with suppress(FileExistsError):
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
            os.write(descriptor, f"{machine}{os.getpid()}\n".encode())
            os.close(descriptor)
            break
        with suppress(FileNotFoundError):  # released in this moment
            found = os.lstat(path)
            if (found.st_ino, found.st_mtime_ns) != seen:
                seen, since = (found.st_ino, found.st_mtime_ns), time.monotonic()
            # Another machine's lock of the operating system may not reach this one, if NFS is mounted so.
            if _content(path).startswith(machine) or time.monotonic() - since > STALE_SECONDS:
                os.unlink(path)
                continue
        time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            os.unlink(path)


def _content(path: Path) -> str:
    # Optuna's is a link to the journal, or empty.
    return "" if path.is_symlink() else path.read_text(errors="replace")
