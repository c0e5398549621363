"""Where a study lies: a file of this machine, or a database server; and the files beside a local one."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from adamtune.errors import UsageError

_SQLITE = re.compile(r"sqlite(\+\w+)?://")


def local_path(location: str) -> Path | None:
    """The database file that ``location`` names, or None where it is the URL of a database server.

    Args:
        location: a path, or a database URL such as ``sqlite:///runs/adamtune.db``.

    Raises:
        UsageError: an SQLite URL without a file.
    """
    if "://" not in location:
        return _path(location)
    match = _SQLITE.match(location)
    if match is None:
        return None
    name = location[match.end() :].partition("?")[0].removeprefix("/")
    if name in ("", ":memory:"):
        raise UsageError(f"{location}: names no file. Write sqlite:///runs/adamtune.db, or just the path.")
    return _path(name)


def _path(name: str) -> Path:
    """The file itself: what lies beside it is not to depend on the link that it was opened by."""
    path = Path(name).expanduser()
    if not path.name:
        raise UsageError(f"{name}: names no file. Write the path of a database, such as runs/adamtune.db.")
    return path.resolve() if path.is_symlink() else path


def without_password(location: str) -> str:
    """``location`` as it may be shown: the password of a URL is hidden."""
    hidden = re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", location)
    return re.sub(r"([?&](?:password|passwd)=)[^&]*", r"\1***", hidden)


def beside(database: Path, study_name: str, suffix: str) -> Path:
    """The file that belongs to one study of ``database``, such as ``adamtune.db.digits-cnn.lock``.

    A name with other than lower-case letters, digits, ``_`` and ``-`` is made safe, and told apart by
    a hash (also on file systems that ignore case).
    """
    safe = re.sub(r"[^a-z0-9_-]", "_", study_name.lower())[:80]
    if safe != study_name:
        safe += "-" + hashlib.sha256(study_name.encode()).hexdigest()[:8]
    return database.with_name(f"{database.name}.{safe}{suffix}")
