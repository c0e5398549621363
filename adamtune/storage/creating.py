"""A new study database, made by Optuna itself."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

from filelock import FileLock

from adamtune.cache import cached
from adamtune.durable import sync
from adamtune.storage.sqlite import faults


def create(path: Path) -> None:
    """Creates an empty study database at ``path`` and its folder, unless a file with content is there.

    The file appears complete or not at all, also when the process is killed, the power is cut, or two
    processes do it at once.

    Raises:
        AdamtuneError: it cannot be written.
    """
    with faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if _has_content(path):
            return
        with FileLock(path.with_name(path.name + ".lock")):
            if not _has_content(path):
                draft = path.with_name(path.name + ".new")
                draft.unlink(missing_ok=True)
                _fill(draft)
                sync(draft)
                os.replace(draft, path)
                sync(path.parent)


def _has_content(path: Path) -> bool:
    return path.exists() and (not path.is_file() or path.stat().st_size > 0)


def _fill(path: Path) -> None:
    """Copies the empty database that Optuna made once: to have it made anew takes half a second."""
    import optuna

    try:
        template = cached(f"empty-{optuna.__version__}.db", _make)
    except OSError:  # no cache folder here
        _make(path)
    else:
        shutil.copyfile(template, path)


def _make(path: Path) -> None:
    from optuna.storages import RDBStorage

    # The creator spares the path from being read as a URL and as a template.
    storage = RDBStorage("sqlite://", engine_kwargs={"creator": lambda: sqlite3.connect(path)})
    storage.remove_session()
    storage.engine.dispose()
