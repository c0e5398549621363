"""Paths and URLs of storages: which are taken, and what is said of the others."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from adamtune.errors import Refused, UsageError
from adamtune.storage.location import (
    check_output,
    companion,
    file_path,
    journal_path,
    local_path,
    trials_folder,
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, which the test alone uses."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_files_of_two_studies_have_different_names() -> None:
    names = [
        "digits-cnn",
        "digits_cnn",
        "digits.cnn",
        "Digits-CNN",
        "../up",
        "a/b",
        "ä",
        "",
        "x" * 300,
        "x" * 301,
    ]
    files = [companion(Path("runs/a.db"), name, ".lock") for name in names]
    assert files[0] == Path("runs/a.db.digits-cnn.lock")
    assert len({file.name.lower() for file in files}) == len(names)
    assert all(file.parent == Path("runs") and len(file.name) < 120 for file in files)


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("runs/a.db", Path("runs/a.db")),
        ("sqlite:///runs/a.db", Path("runs/a.db")),
        ("sqlite:////tmp/a.db?timeout=3", Path("/tmp/a.db")),
        ("sqlite+pysqlite:///a.db", Path("a.db")),
        ("SQLite:///a.db", Path("a.db")),
        ("./sqlite:a.db", Path("sqlite:a.db")),
        ("costs$.db", Path("costs$.db")),
        ("my study.db", Path("my study.db")),
        ("postgresql://u:p$word@h/d", None),
        ("mysql+pymysql://h/d", None),
        ("journal:///a.log", None),
        ("journal:a.log", None),
    ],
)
def test_a_location_is_a_file_or_something_else(location: str, path: Path | None) -> None:
    assert local_path(location) == path


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("journal:///shared/a.log", Path("/shared/a.log")),
        ("journal:/shared/a.log", Path("/shared/a.log")),
        ("journal:runs/a.log", Path("runs/a.log")),
        ("journal:./a.log", Path("a.log")),
        ("journal.db", None),
        ("./journal:a.log", None),
        ("postgresql://h/d", None),
    ],
)
def test_a_location_is_a_journal_or_something_else(location: str, path: Path | None) -> None:
    assert journal_path(location) == path
    if path is not None:
        assert trials_folder(location, "s") == Path(f"{path}.s.trials")


@pytest.mark.parametrize(
    "location", ["journal:", "journal://", "journal://shared/a.log", "journal://./a.log"]
)
def test_a_journal_without_a_path_is_refused(location: str) -> None:
    with pytest.raises(UsageError, match=r"write journal:///.* for a path from the root on"):
        local_path(location)


def test_an_output_file_is_no_journal(folder: Path) -> None:
    for name in ("a.log", "a.log.lock"):
        with pytest.raises(Refused, match="belongs to the storage"):
            check_output(Path(name), "journal:a.log")


def test_the_home_folder_is_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/homes/me")
    assert local_path("~/a.db") == local_path("sqlite:///~/a.db") == Path("/homes/me/a.db")


@pytest.mark.parametrize(
    ("location", "advice"),
    [
        ("", "names no file. Write a path"),
        (" ", "names no file. Write a path"),
        ("-", "names no file. Write a path"),
        (":memory:", "names no file. Write a path"),
        ("sqlite://", "names no file. Write the path alone"),
        ("sqlite:///", "names no file. Write the path alone"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:u.db", "write the path alone: u.db"),
        ("sqlite+pysqlite:u.db", "write the path alone: u.db"),
        ("sqlite:/u.db", "write the path alone: /u.db"),
        ("file:u.db", "write the path alone: u.db"),
        ("file:///tmp/u.db", "write the path alone: /tmp/u.db"),
        ("FILE://u.db", "write the path alone: u.db"),
        ("sqlite:///file:u.db?uri=true", "write the path alone: u.db"),
        ("postgresql:host/db", "as postgresql://host/db, a file of this name as ./postgresql:host/db"),
        ("mysql:host/db", "as mysql://host/db"),
        ("$PLACE/u.db", "Write the path itself: /a/place/u.db"),
        ("${PLACE}/u.db", "Write the path itself: /a/place/u.db"),
        ("sqlite:///$PLACE/u.db", "Write the path itself: /a/place/u.db"),
        ("$NO_SUCH_VARIABLE/u.db", "variables of the shell are not replaced here"),
        ("~nobody-has-this-name/u.db", "there is no home folder for ~nobody-has-this-name"),
        ("u.db\n", "ends with a space or a line break. Write u.db."),
        (" u.db", "begins or ends with a space or a line break. Write u.db."),
        ("postgresql://u:secret@h/d\n", r"Write postgresql://u:\*\*\*@h/d\."),
        ("a\0b.db", "cannot be printed"),
        ("a\nb.db", "cannot be printed"),
        ("\udce4.db", "cannot be printed"),
        ("postgresql://u:secret\0@h/d", "cannot be printed"),
        ("runs/", "this is a folder. Name a file in it, such as runs/adamtune.db"),
        ("sqlite:///runs/", "this is a folder. Name a file in it, such as runs/adamtune.db"),
        ("existing", "this is a folder. Name a file in it, such as existing/adamtune.db"),
        ("link", "this is a folder"),
        (".", "this is a folder"),
        ("..", "this is a folder"),
        ("/", "this is a folder. Name a file in it, such as /adamtune.db"),
        ("~", "this is a folder"),
        ("/dev/null", "this is a device, not a file"),
        ("x" * 300, "File name too long"),
        ("loop", "Too many levels of symbolic links"),
        ("loop/u.db", "Too many levels of symbolic links"),
        ("note.txt/u.db", "Not a directory"),
    ],
)
def test_a_location_that_looks_like_a_mistake_is_refused(
    location: str, advice: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE", "/a/place")
    (folder / "existing").mkdir()
    (folder / "link").symlink_to("existing")
    (folder / "loop").symlink_to("loop")
    (folder / "note.txt").touch()
    before = sorted(folder.iterdir())
    with pytest.raises(UsageError, match=advice) as caught:
        local_path(location)
    assert "secret" not in str(caught.value)
    assert sorted(folder.iterdir()) == before


def test_without_a_home_folder_the_tilde_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(UsageError, match=r"there is no home folder for ~\. Write the path in full"):
        local_path("~/u.db")


# Outputs


def make_sqlite(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE recipes (name TEXT)")


@pytest.mark.parametrize(
    "output",
    [
        "m.db",
        "../{folder}/m.db",
        "{path}/m.db",
        "link.db",
        "hard.db",
        "linked/m.db",
        "m.db-wal",
        "m.db-shm",
        "m.db-journal",
        "m.db.new",
        "m.db.lock",
        "m.db.s.lock",
        "m.db.my-study.12.ckpt",
        "m.db.s.12.ckpt.tmp",
        "linked/m.db.s.lock",
        "another.sqlite",
    ],
)
@pytest.mark.parametrize("storage", ["m.db", "sqlite:///m.db", "linked/m.db", "link.db"])
def test_an_output_over_a_database_or_its_files_is_refused(output: str, storage: str, folder: Path) -> None:
    make_sqlite(folder / "m.db")
    make_sqlite(folder / "another.sqlite")
    (folder / "link.db").symlink_to("m.db")
    os.link("m.db", "hard.db")
    (folder / "linked").symlink_to(".")
    named = output.format(folder=folder.name, path=folder)
    with pytest.raises(Refused, match=r"was left as it is\. Name another file\."):
        check_output(file_path(named), storage)


def test_the_storage_need_not_exist_to_be_protected() -> None:
    with pytest.raises(Refused):
        check_output(Path("m.db"), "m.db")


@pytest.mark.parametrize(
    "output", ["m.csv", "m.db.csv", "m.db.s.csv", "sub/m.db", "old.csv", "am.db", "/dev/null"]
)
def test_another_output_is_allowed(output: str, folder: Path) -> None:
    make_sqlite(folder / "m.db")
    (folder / "old.csv").write_text("rank\n")
    check_output(file_path(output), "m.db")
    check_output(file_path(output), "postgresql://host/db")
