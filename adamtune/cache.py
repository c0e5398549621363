"""Where adamtune keeps what it can make again: ``$XDG_CACHE_HOME/adamtune`` (``~/.cache/adamtune``)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from adamtune.durable import sync


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
