"""What has to be on the disk before what: a power cut at any moment costs nothing that was committed."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import torch
from optuna.study import StudyDirection

from adamtune.files import use_cached
from adamtune.storage.local.checkpoints import Checkpoints, save
from adamtune.storage.local.database import connect, create
from adamtune.storage.local.storage import LocalStorage

from .conftest import commit

MINIMIZE = [StudyDirection.MINIMIZE]
STATE = {"weights": torch.arange(50_000.0)}
Event = tuple[str, ...]


# The database


@pytest.fixture
def connection(database: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect(database)) as made:
        yield made


@pytest.mark.parametrize(
    ("pragma", "value"), [("synchronous", 2), ("foreign_keys", 1), ("journal_mode", "wal")]
)
def test_how_a_database_is_opened(pragma: str, value: object, connection: sqlite3.Connection) -> None:
    """``synchronous`` 2 is FULL: in write-ahead mode, less syncs no commit."""
    assert connection.execute(f"PRAGMA {pragma}").fetchone() == (value,)


def test_what_sqlite_does_by_itself_is_overruled(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite may be compiled with other defaults."""
    opened = sqlite3.connect

    def weak(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        made = opened(*args, **kwargs)
        made.execute("PRAGMA synchronous = OFF")
        made.execute("PRAGMA foreign_keys = OFF")
        return made

    monkeypatch.setattr("sqlite3.connect", weak)
    with closing(connect(database)) as made:
        assert made.execute("PRAGMA synchronous").fetchone() == (2,)
        assert made.execute("PRAGMA foreign_keys").fetchone() == (1,)


def test_no_row_belongs_to_a_trial_that_is_not_there(connection: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        connection.execute(
            "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (77, 'k', '1')"
        )


# Files


@pytest.fixture
def events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """What is synced and what is renamed in the test's folder, in order; a file as large as it was then."""
    happened: list[Event] = []
    fsync, replace = os.fsync, os.replace

    def syncing(descriptor: int) -> None:
        fsync(descriptor)
        synced = os.fstat(descriptor)
        for path in (tmp_path, *tmp_path.rglob("*")):
            if os.path.samestat(synced, path.stat()):
                happened.append(("sync", "folder") if path == tmp_path else ("sync", sized(path)))

    def renaming(source: Path, target: Path) -> None:
        before = sized(Path(source))
        replace(source, target)
        if tmp_path in Path(target).parents:
            happened.append(("rename", before, Path(target).name))

    monkeypatch.setattr("os.fsync", syncing)
    monkeypatch.setattr("os.replace", renaming)
    return happened


def sized(path: Path) -> str:
    return f"{path.name}, {path.stat().st_size} bytes"


def test_a_checkpoint_is_synced_then_renamed_and_then_its_name_is_synced(
    tmp_path: Path, events: list[Event]
) -> None:
    """Else a power cut could leave the name without the content, or neither."""
    path = tmp_path / "a.ckpt"
    for _ in range(2):  # the second one replaces the first
        save(path, STATE)
        whole = f"a.ckpt.tmp, {path.stat().st_size} bytes"
        assert events == [("sync", whole), ("rename", whole, "a.ckpt"), ("sync", "folder")]
        events.clear()


def test_a_checkpoint_is_on_the_disk_before_its_commit_and_the_last_one_goes_after_it(
    database: Path, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = LocalStorage.commit

    def committing(self: LocalStorage) -> None:
        write(self)
        events.append(("commit", *sorted(path.name for path in database.parent.glob("*.ckpt"))))

    monkeypatch.setattr(LocalStorage, "commit", committing)
    with closing(LocalStorage(database)) as storage:
        study_id, checkpoints = storage.create_new_study(MINIMIZE, "s"), Checkpoints(database, "s")
        first, second = "studies.db.s.1.ckpt", "studies.db.s.2.ckpt"
        for state in (STATE, STATE, None):
            commit(checkpoints, storage, study_id, state)
        checkpoints.close()
    assert [(event[0], event[-1].partition(",")[0]) for event in events if event[0] != "commit"] == [
        ("sync", f"{first}.tmp"), ("rename", first), ("sync", "folder"),
        ("sync", f"{second}.tmp"), ("rename", second), ("sync", "folder"),
    ]  # fmt: skip
    commits = [(place, event) for place, event in enumerate(events) if event[0] == "commit"]
    assert commits == [
        (3, ("commit", first)),
        (7, ("commit", first, second)),
        (8, ("commit", second)),
    ]
    assert list(database.parent.glob("*.ckpt*")) == []


def test_a_new_database_is_synced_then_renamed_and_then_its_name_is_synced(
    tmp_path: Path, events: list[Event]
) -> None:
    path = tmp_path / "new.db"
    create(path)
    whole = f"new.db.new, {path.stat().st_size} bytes"
    assert events == [("sync", whole), ("rename", whole, "new.db"), ("sync", "folder")]


def test_what_is_made_once_for_all_is_synced_before_it_has_its_name(
    tmp_path: Path, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def make(draft: Path) -> None:
        draft.write_bytes(b"12345")

    assert use_cached("made.bin", make, Path.read_bytes) == b"12345"
    assert events == [("sync", "made.bin, 5 bytes"), ("rename", "made.bin, 5 bytes", "made.bin")]


# System calls


COMMITS = """
import sys
from optuna.study import StudyDirection
from adamtune.storage.local.checkpoints import Checkpoints
from adamtune.storage.local.storage import LocalStorage
storage = LocalStorage(sys.argv[1])
study_id = storage.create_new_study([StudyDirection.MINIMIZE], "s")
checkpoints = Checkpoints(storage.path, "s")
for number in range(3):
    storage.create_new_trial(study_id)
    checkpoints.begin(storage, study_id, {"number": number})
    checkpoints.finish()
checkpoints.close()
storage.close()
"""
CALL = re.compile(r"(?:f(?:data)?sync\(\d+<(?P<synced>[^>]*)>|rename\w*\(.*\"(?P<renamed>[^\"]*)\").*= 0$")


@pytest.mark.slow
def test_every_commit_syncs_the_checkpoint_its_name_and_the_write_ahead_log(database: Path) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace")
    trace = database.with_name("trace")
    watched = "fsync,fdatasync,rename,renameat,renameat2"
    traced = [strace, "-f", "-y", "-o", str(trace), "-e", f"trace={watched}"]
    if subprocess.run([*traced, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no process may be traced here")
    subprocess.run([*traced, sys.executable, "-c", COMMITS, str(database)], check=True)
    folder, stem = str(database.parent), f"{database}.s."
    found = [
        each["synced"] or each["renamed"] for each in map(CALL.search, trace.read_text().splitlines()) if each
    ]
    begun = found.index(f"{stem}1.ckpt.tmp")
    in_order = [each for each in found[begun:] if each != str(database)]
    expected = []
    for number in (1, 2, 3):
        expected += [f"{stem}{number}.ckpt.tmp", f"{stem}{number}.ckpt", folder, f"{database}-wal"]
    assert [each for each, _ in groupby(in_order)][: len(expected)] == expected
