"""Places that users name, and what is refused before anything is written."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from adamtune.errors import Refused, UsageError
from adamtune.exports import registry
from adamtune.exports.registry import TRACKERS, Place, find_place, tracker_error


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every package were installed."""
    monkeypatch.setattr(registry, "is_installed", lambda package: True)


@pytest.mark.parametrize("text", ["mlflow", "mlflow:", "wandb: ", "aim:runs", "runs/tensorboard", ""])
def test_a_tracker_and_a_place_are_needed(text: str) -> None:
    with pytest.raises(UsageError, match="write a tracker and a place in it, such as mlflow:sqlite"):
        find_place(text, "--to", "s.db")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("text", "kind", "where"),
    [
        ("mlflow:sqlite:///a.db", "mlflow", "sqlite:///a.db"),
        ("mlflow:http://host:5000", "mlflow", "http://host:5000"),
        ("wandb:runs/w b", "wandb", "runs/w b"),
    ],
)
def test_a_place_may_have_colons_and_spaces(text: str, kind: str, where: str) -> None:
    assert find_place(text, "--to", "s.db") == Place(kind, where)


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    for kind in TRACKERS:
        with pytest.raises(UsageError, match=rf"{kind} is not installed.*'adamtune\[{kind}\]'"):
            find_place(f"{kind}:x", "--to", "s.db")
    assert not list(folder.iterdir())


def test_a_folder_is_no_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """wandb makes a folder of its name in the working directory."""
    monkeypatch.syspath_prepend(folder)
    (folder / "aim_runs").mkdir()
    assert not registry.is_installed("aim_runs")
    assert registry.is_installed("typer")


@pytest.mark.usefixtures("installed")
def test_mlflow_gets_no_database_of_studies(folder: Path) -> None:
    with closing(sqlite3.connect("other.db")) as connection:
        connection.execute("CREATE TABLE studies (study_id INTEGER)")
    with closing(sqlite3.connect("mlflow.db")) as connection:
        connection.execute("CREATE TABLE experiments (id INTEGER)")
    for name in ("s.db", "s.db.lock", "other.db", f"/{folder}/s.db"):
        with pytest.raises(Refused, match="this database holds studies"):
            find_place(f"mlflow:sqlite:///{name}", "--log-to", "s.db")
    for name in ("mlflow.db", "new.db"):
        find_place(f"mlflow:sqlite:///{name}", "--log-to", "s.db")


def test_a_password_is_not_shown() -> None:
    place = Place("mlflow", "postgresql://me:secret@host/db")
    assert "secret" not in f"{place} {place.view} {tracker_error(place, ValueError('down'))}"
    said = str(tracker_error(place, ValueError("down\nsince then")))
    assert said == f"cannot write to {place}: ValueError: down"
