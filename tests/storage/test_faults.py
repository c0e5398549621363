"""Real faults: each ends in a message, the database opens afterwards, and nothing committed is lost."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from optuna.study import StudyDirection

from adamtune.errors import AdamtuneError, Refused
from adamtune.storage.local.checkpoints import Checkpoints
from adamtune.storage.local.lock import study_lock
from adamtune.storage.local.storage import LocalStorage
from adamtune.storage.studies import delete_study, list_studies, read_study

from .conftest import commit

MINIMIZE = [StudyDirection.MINIMIZE]


def begin(storage: LocalStorage, trials: int = 3) -> int:
    study_id = storage.create_new_study(MINIMIZE, "s")
    for number in range(trials):
        storage.set_trial_user_attr(storage.create_new_trial(study_id), "n", number)
    storage.commit()
    return study_id


def kept(path: Path) -> list[int]:
    with closing(LocalStorage(path)) as storage:
        trials = storage.get_all_trials(storage.get_study_id_from_name("s"))
        return [trial.user_attrs["n"] for trial in trials]


# A full disk


def fill_up(folder: Path) -> Path:
    ballast = folder / "ballast"
    with pytest.raises(OSError, match="No space left"):
        write_zeros(ballast)
    return ballast


def write_zeros(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_commit_on_a_full_disk_is_kept_and_tried_again(small_disk: Path, empty_database: Path) -> None:
    path = Path(shutil.copy(empty_database, small_disk / "studies.db"))
    with closing(LocalStorage(path)) as storage:
        study_id = begin(storage)
        ballast = fill_up(small_disk)
        storage.set_trial_user_attr(storage.create_new_trial(study_id), "n", 3)
        storage.set_study_user_attr(study_id, "large", "x" * 50_000)
        for _ in range(2):
            with pytest.raises(AdamtuneError, match=r"studies\.db: the disk .*full.*committed is lost"):
                storage.commit()
        assert len(storage.get_all_trials(study_id)) == 4
        assert len(read_study(str(path), "s").trials) == 3
        ballast.unlink()
        storage.commit()
    assert kept(path) == [0, 1, 2, 3]


def test_a_full_disk_loses_nothing_when_the_process_ends(small_disk: Path, empty_database: Path) -> None:
    path = Path(shutil.copy(empty_database, small_disk / "studies.db"))
    storage = LocalStorage(path)
    study_id = begin(storage)
    ballast = fill_up(small_disk)
    storage.set_study_user_attr(study_id, "large", "x" * 50_000)
    with pytest.raises(AdamtuneError, match="full"):
        storage.commit()
    del storage
    ballast.unlink()
    assert kept(path) == [0, 1, 2]


def test_a_checkpoint_on_a_full_disk_leaves_the_last_pair(small_disk: Path, empty_database: Path) -> None:
    path = Path(shutil.copy(empty_database, small_disk / "studies.db"))
    with closing(LocalStorage(path)) as storage:
        study_id, checkpoints = begin(storage), Checkpoints(path, "s")
        commit(checkpoints, storage, study_id, {"step": 1})
        storage.set_trial_user_attr(storage.create_new_trial(study_id), "n", 3)
        with pytest.raises(AdamtuneError, match=r"ckpt: .*(space|No space)"):
            commit(checkpoints, storage, study_id, {"step": torch.ones(2_000_000)})
    with closing(LocalStorage(path)) as storage:
        assert checkpoints.restore(storage, study_id) == {"step": 1}
        assert [each.name for each in small_disk.glob("*ckpt*")] == ["studies.db.s.1.ckpt"]
    assert kept(path) == [0, 1, 2]


def test_a_new_database_on_a_full_disk_leaves_no_half_of_one(small_disk: Path) -> None:
    ballast = fill_up(small_disk)
    path = small_disk / "studies.db"
    with pytest.raises(AdamtuneError, match=r"studies\.db: .*(full|No space)"):
        LocalStorage(path)
    assert not path.exists()
    ballast.unlink()
    LocalStorage(path).close()


# Permissions


UNPRIVILEGED = """
import json, os, sys
from pathlib import Path
from adamtune.errors import AdamtuneError
from adamtune.storage.local.checkpoints import save
from adamtune.storage.local.storage import LocalStorage
from adamtune.storage.local.lock import study_lock
from adamtune.storage.studies import delete_study, read_study
import alembic.command, optuna, sqlalchemy.dialects.sqlite, torch

if os.geteuid() == 0:  # which may write anywhere
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
folder = Path(sys.argv[1])
path = folder / "studies.db"
actions = {
    "create": lambda: LocalStorage(folder / "new.db"),
    "open": lambda: LocalStorage(path),
    "lock": lambda: study_lock(str(path), "s").__enter__(),
    "checkpoint": lambda: save(folder / "a.ckpt", {}),
    "delete": lambda: delete_study(str(path), "s"),
    "read": lambda: len(read_study(str(path), "s").trials),
}
said = {}
for name, action in actions.items():
    try:
        said[name] = action()
    except AdamtuneError as error:
        said[name] = f"{type(error).__name__} {error}"
print(json.dumps(said))
"""


@pytest.fixture
def read_only_folder(database: Path) -> Iterator[Path]:
    """A folder with a study, in which nothing may be written; every folder above may be entered.

    It is not in pytest's folder, which every other run of pytest closes to other users when it begins.
    """
    with closing(LocalStorage(database)) as storage:
        begin(storage)
    with TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(database, folder / "studies.db")
        (folder / "studies.db").chmod(0o444)
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)


def test_a_read_only_folder_can_be_read_and_everything_else_is_reported(read_only_folder: Path) -> None:
    before = (read_only_folder / "studies.db").read_bytes()
    command = [sys.executable, "-c", UNPRIVILEGED, str(read_only_folder)]
    said = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert said.pop("read") == 3
    for name, message in said.items():
        assert message.startswith(f"AdamtuneError {read_only_folder}"), name
        assert "ermission" in message or "read-only" in message, name
        assert "as the storage" in message, name
    assert sorted(each.name for each in read_only_folder.iterdir()) == ["studies.db"]
    assert (read_only_folder / "studies.db").read_bytes() == before


# Locks of other programs


def test_a_lock_of_another_program_is_reported_and_waited_out(database: Path) -> None:
    with closing(LocalStorage(database, busy_seconds=0.05)) as storage:
        study_id = begin(storage)
        storage.set_trial_user_attr(storage.create_new_trial(study_id), "n", 3)
        with closing(sqlite3.connect(database, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            for write in (storage.commit, lambda: storage.create_new_study(MINIMIZE, "t")):
                with pytest.raises(AdamtuneError, match="another program holds a lock"):
                    write()
            assert len(read_study(str(database), "s").trials) == 3
        storage.commit()
    assert kept(database) == [0, 1, 2, 3]


# Files that are something else


@pytest.mark.parametrize("size", [100, 5000, 20_000])
def test_a_cut_file_is_reported_and_left(database: Path, size: int) -> None:
    with closing(LocalStorage(database)) as storage:
        begin(storage, trials=300)
    content = database.read_bytes()[:size]
    database.write_bytes(content)
    for use in (lambda: LocalStorage(database), lambda: list_studies(str(database))):
        with pytest.raises(AdamtuneError, match=r"damaged|not a study database"):
            use()
    assert database.read_bytes() == content


def test_a_text_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary\n" * 100)
    for use in (LocalStorage, list_studies, lambda location: delete_study(location, "s")):
        with pytest.raises(Refused, match=r"notes\.txt: it is not a study database, and was left as it is"):
            use(str(path))
    assert path.read_text() == "dear diary\n" * 100


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE studies (name TEXT)")
    content = path.read_bytes()
    for use in (lambda: LocalStorage(path), lambda: list_studies(str(path))):
        with pytest.raises(Refused, match=r"other\.db: .*holds no studies of Optuna"):
            use()
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("revision", "advice"),
    [("v9.0.0.a", "newer Optuna: update adamtune"), ("v2.6.0.a", "optuna storage upgrade")],
)
def test_another_schema_is_refused(database: Path, revision: str, advice: str) -> None:
    with closing(LocalStorage(database)) as storage:
        begin(storage)
    with closing(sqlite3.connect(database)) as other, other:
        (before,) = other.execute("SELECT version_num FROM alembic_version").fetchone()
        other.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    for use in (lambda: LocalStorage(database), lambda: list_studies(str(database))):
        with pytest.raises(Refused, match=advice):
            use()
    with closing(sqlite3.connect(database)) as other, other:
        other.execute("UPDATE alembic_version SET version_num = ?", (before,))
    assert kept(database) == [0, 1, 2]


def test_a_folder_in_the_files_place_is_reported(tmp_path: Path) -> None:
    with pytest.raises(AdamtuneError, match="this is a folder"):
        list_studies(str(tmp_path))
    with pytest.raises(AdamtuneError, match="cannot be opened: it is no file"):
        LocalStorage(tmp_path)


def test_a_file_in_the_folders_place_is_reported(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    location = str(tmp_path / "runs" / "studies.db")
    with pytest.raises(AdamtuneError, match=r"exists|Not a directory"):
        LocalStorage(location)
    with pytest.raises(AdamtuneError, match=r"exists|Not a directory"), study_lock(location, "s"):
        pass


def test_an_empty_file_becomes_a_database(tmp_path: Path) -> None:
    path = tmp_path / "studies.db"
    path.touch()
    with closing(LocalStorage(path)) as storage:
        begin(storage)
    assert kept(path) == [0, 1, 2]
