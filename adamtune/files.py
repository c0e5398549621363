"""Files that survive a power cut, and the cache of files that are made once for all processes."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

LOG = logging.getLogger(__name__)
T = TypeVar("T")


def sync(path: Path) -> None:
    """Returns when a file's content, or a folder's names, are on the disk.

    Elsewhere than on POSIX there is no such call for a folder, and nothing is done for it.
    """
    if path.is_dir() and os.name != "posix":
        return
    # Windows syncs only what is open for writing; a folder can only be opened for reading.
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def use_cached(name: str, make: Callable[[Path], object], use: Callable[[Path], T]) -> T:
    """Uses the file ``name`` of the cache, which is made where it is missing or cannot be used.

    The file appears in the cache complete or not at all. Where the cache is the problem, a file in a
    temporary folder is used instead, and a warning says why.

    Args:
        make: writes the file to the path it gets.
        use: reads the file at the path it gets; it raises OSError where it cannot be used.

    Returns:
        What ``use`` returns.

    Raises:
        OSError: the file can be used in no folder.
    """
    try:
        found = _cache_folder() / name
        # A full disk leaves files without content.
        if found.exists() and found.stat().st_size:
            return use(found)
    except OSError:  # which is said below, if making it again is of no help
        pass
    with tempfile.TemporaryDirectory(prefix="adamtune-") as scratch:
        made = Path(scratch) / name
        make(made)
        try:
            return use(_keep(made, _cache_folder()))
        except OSError as error:
            used = use(made)
            _warn(f"{error.filename}: {error.strerror}" if error.filename else str(error))
            return used


def _cache_folder() -> Path:
    # An empty variable counts as not set, as the XDG specification says.
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if base == "~/.cache":  # no $HOME, and the system knows no user of this number
        raise OSError("the home folder of this user is not known")
    return Path(base) / "adamtune"


def _keep(made: Path, folder: Path) -> Path:
    """Copies ``made`` into ``folder``, and returns the copy."""
    # For this user alone: a library in it is loaded into the process.
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Inside the folder, because a file can only be renamed within a file system.
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        draft = Path(shutil.copy(made, scratch))
        sync(draft)
        return draft.replace(folder / made.name)


@cache
def _warn(reason: str) -> None:
    """Warns once for each reason."""
    LOG.warning(
        "The cache folder cannot be used (%s), so every run makes its files again, in a temporary folder."
        " Set XDG_CACHE_HOME to a folder that can be written and run from.",
        reason,
    )
