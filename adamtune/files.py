"""Files that outlast a power cut."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def sync(path: Path) -> None:
    """Returns when a file's content, or a folder's names, are on the disk.

    Elsewhere than on POSIX there is no such call for a folder, and nothing is done for it.
    """
    if path.is_dir() and os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """The file ``name`` of the cache, made by ``make(path)`` if it is not there yet.

    The file appears complete or not at all.

    Raises:
        OSError: the cache folder cannot be written.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "adamtune"
    target = folder / name
    if not target.exists() or not target.stat().st_size:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            made = Path(scratch) / name
            make(made)
            sync(made)
            made.replace(target)
    return target
