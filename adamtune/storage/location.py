"""Where a study is kept: a local file, a journal or a database server; and the files that belong to it."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from pathlib import Path

from adamtune.errors import Refused, UsageError

STORAGE = "runs/adamtune.db"
"""The storage where nothing else is said; an example in messages."""

_JOURNAL = re.compile(r"journal:", re.IGNORECASE)
_SQLITE = re.compile(r"sqlite(\+\w+)?://", re.IGNORECASE)
_SCHEME = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+):(//)?(?P<rest>.*)", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(\w|\{)")
_COMPANION = r"(-wal|-shm|-journal|\.new|(\..*)?\.lock|\..*\.ckpt(\.tmp)?)?"
"""What follows the name of a database in the names of its files; nothing for the database itself."""


def local_path(location: str) -> Path | None:
    """The database file that ``location`` names; None where it is a journal or the URL of a database server.

    Every file that belongs to a study is named after this path, so a link is followed to its target.

    Args:
        location: a path, or a database URL such as ``sqlite:///runs/adamtune.db``.

    Raises:
        UsageError: the path is a folder or a device, or looks like a spelling mistake.
    """
    if journal_path(location) is not None:
        return None
    match = _SQLITE.match(location)
    # A file: URL is SQLite's own way to name a file: it gets the advice for paths below.
    if match is None and "://" in location and not location.lower().startswith("file:"):
        _check_spelling(location)
        return None
    # sqlite:///x names x, sqlite:////x names /x: one slash belongs to the URL. What follows ? are options.
    name = location[match.end() :].partition("?")[0].removeprefix("/") if match else location
    if match and not name:
        raise UsageError(f"{location}: names no file. Write the path alone, such as {STORAGE}.")
    return _regular_file(name)


def journal_path(location: str) -> Path | None:
    """The file of a journal that ``location`` names, or None where it is a database.

    Args:
        location: such as ``journal:///shared/studies.log``, or ``journal:runs/studies.log`` for a path from
            the working directory on.

    Raises:
        UsageError: the path is a folder or a device, or looks like a spelling mistake.
    """
    match = _JOURNAL.match(location)
    if match is None:
        return None
    rest = location[match.end() :]
    name = rest.removeprefix("//")
    # In a URL, what follows the two slashes is a machine.
    if not name or (name != rest and not name.startswith("/")):
        raise UsageError(
            f"{location}: write journal:///{name or 'shared/studies.log'} for a path from the root on,"
            f" journal:{name or 'runs/studies.log'} for one from the working directory on."
        )
    return _regular_file(name)


def _regular_file(name: str) -> Path:
    path = file_path(name)
    if os.path.exists(path) and not os.path.isfile(path):
        raise UsageError(f"{name}: this is a device, not a file. Write a path, such as {STORAGE}.")
    return path


def file_path(name: str) -> Path:
    """The file that a user names. Its home folder is written out, and a link is followed to its target.

    Raises:
        UsageError: no file can have this path, or it looks like a spelling mistake.
    """
    _check_spelling(name)
    mistake = _mistake(name)
    if mistake is not None:
        raise UsageError(f"{name if name.strip() else repr(name)}: {mistake}")
    path = os.path.expanduser(name)
    try:
        # Such a path would only fail when the study is opened, without saying that the name is the cause.
        os.stat(path)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR):
            raise UsageError(f"{name}: {error.strerror}. Name another file.") from error
    return Path(os.path.realpath(path) if os.path.islink(path) else path)


def _check_spelling(location: str) -> None:
    """Raises UsageError for characters at which the spelling of a path or URL went wrong."""
    written = location.strip()
    if not written.isprintable():
        raise UsageError(
            f"{without_password(location)!r}: holds a character that cannot be printed."
            f" Write it without, such as {STORAGE}."
        )
    # A name may end in a space, but quotes in YAML or in the shell put it there more often than a user.
    if written and written != location:
        raise UsageError(
            f"{without_password(location)!r}: begins or ends with a space or a line break."
            f" Write {without_password(written)}."
        )


def _mistake(name: str) -> str | None:
    """What is wrong with the name of a file, and the right spelling; None where nothing is."""
    if name.strip() in ("", "-", ":memory:"):
        return f"names no file. Write a path, such as {STORAGE}."
    url = _SCHEME.fullmatch(name)
    if url is not None and url["scheme"].partition("+")[0].lower() in ("sqlite", "file"):
        return f"write the path alone: {url['rest'] or STORAGE}"
    if url is not None:
        return (
            f"write the URL of a server as {url['scheme']}://{url['rest']}, a file of this name as ./{name}"
        )
    # The shell does not replace $HOME in a study file, and a folder of that name would be made.
    expanded = os.path.expandvars(name)
    if _VARIABLE.search(name):
        value = f": {expanded}" if expanded != name else "."
        return f"variables of the shell are not replaced here. Write the path itself{value}"
    home = os.path.expanduser(name)
    if home.startswith("~"):
        return f"there is no home folder for {Path(name).parts[0]}. Write the path in full."
    if os.path.isdir(home) or not os.path.basename(home):
        return f"this is a folder. Name a file in it, such as {os.path.join(name, Path(STORAGE).name)}."
    return None


def check_output(output: Path, location: str) -> None:
    """Checks that a file to be written holds no studies.

    Args:
        output: the file, which may exist.
        location: the storage in use.

    Raises:
        Refused: it is the storage's file or belongs to it, or it is another SQLite database.
    """
    path, own = Path(os.path.realpath(output)), belongs(output, location)
    if own or _is_sqlite(path):
        what = "belongs to the storage" if own else "is an SQLite database"
        raise Refused(f"{output}: this file {what}, and was left as it is. Name another file.")


def belongs(file: Path, location: str) -> bool:
    """Whether a file, which may not exist yet, is the database of a storage or one of its other files."""
    path, database = Path(os.path.realpath(file)), local_path(location) or journal_path(location)
    if database is None:
        return False
    database = Path(os.path.realpath(database))
    found = re.fullmatch(re.escape(database.name) + _COMPANION, path.name)
    return found is not None and path.parent == database.parent


def _is_sqlite(path: Path) -> bool:
    try:
        if not path.is_file():  # reading a pipe would wait
            return False
        with path.open("rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except OSError:
        return False


def without_password(location: str) -> str:
    """``location`` as it may be shown: the password of a URL is hidden."""
    # A password may have colons and slashes, so it reaches to the @ of the host.
    hidden = re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", location)
    return re.sub(r"([?&](?:password|passwd)=)[^&]*", r"\1***", hidden)


def trials_folder(location: str, study_name: str) -> Path:
    """The folder for logs and checkpoints of a study's functions or commands.

    It lies beside the database file or the journal; for a database server in the folder ``runs``.
    """
    return companion(local_path(location) or journal_path(location) or Path(STORAGE), study_name, ".trials")


def companion(database: Path, study_name: str, suffix: str) -> Path:
    """The file of one study next to ``database``, such as ``studies.db.digits-cnn.lock``.

    Characters other than lower-case letters, digits, ``_`` and ``-`` are replaced, and a hash tells such
    names apart (also on file systems that ignore case).
    """
    # Cut at 80: a name of a file has at most 255 bytes, and the database's name and the suffix come on top.
    safe = re.sub(r"[^a-z0-9_-]", "_", study_name.lower())[:80]
    if safe != study_name:
        safe += "-" + hashlib.sha256(study_name.encode()).hexdigest()[:8]
    return database.with_name(f"{database.name}.{safe}{suffix}")
