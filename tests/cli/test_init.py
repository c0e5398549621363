"""``adamtune init`` writes files that run at once, and never replaces any."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from adamtune.config import load_study
from adamtune.config.baseline import default_settings
from adamtune.function import Run
from adamtune.tasks.program import fill
from adamtune.tasks.source import find_function

from .studies import Adamtune

FORMS: dict[str, list[str]] = {"task": [], "function": ["--function"], "command": ["--command"]}


@pytest.mark.parametrize(
    "form", ["task", *(pytest.param(each, marks=pytest.mark.slow) for each in ("function", "command"))]
)
def test_what_it_writes_runs_at_once(
    form: str, adamtune: Adamtune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = adamtune("init", "new", *FORMS[form])
    assert made.code == 0, made.err
    assert "search new/study.yaml" in made.out
    written = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert written == ["study.yaml", "task.py" if form == "task" else "train.py"]
    assert adamtune("validate", "new/study.yaml").code == 0
    found = adamtune("search", "new/study.yaml", "--trials", "1")
    assert found.code == 0, found.err
    assert "1 complete" in found.out


def test_the_function_that_it_writes_trains(
    adamtune: Adamtune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, which has imported torch."""
    monkeypatch.chdir(tmp_path)
    assert adamtune("init", ".", "--function").code == 0
    task = load_study(Path("study.yaml")).task
    settings = {**default_settings("adamw"), **task.settings}
    reports: list[Any] = []
    find_function(task.name)(Run(settings, metrics=("val_loss",), send=lambda each: not reports.append(each)))
    reports = [each for each in reports if "step" in each]
    assert [each["step"] for each in reports] == list(range(30, 301, 30))
    assert reports[-1]["metrics"]["val_loss"] < reports[0]["metrics"]["val_loss"]


def test_the_command_that_it_writes_trains(
    adamtune: Adamtune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process, which has imported torch."""
    monkeypatch.chdir(tmp_path)
    assert adamtune("init", ".", "--command").code == 0
    command = yaml.safe_load(Path("study.yaml").read_text())["task"]["command"]
    python, *arguments = fill(command, {**default_settings("adamw"), "seed": 0})
    monkeypatch.setattr(sys, "argv", arguments)
    runpy.run_path(arguments[0], run_name="__main__")
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert python == sys.executable
    assert [each["step"] for each in reports] == list(range(30, 301, 30))
    assert reports[-1]["val_loss"] < reports[0]["val_loss"]


@pytest.mark.parametrize("form", FORMS)
def test_what_it_suggests_to_search_can_be_searched(
    form: str, adamtune: Adamtune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lines that are comments at first: without their marks they are a study, too."""
    monkeypatch.chdir(tmp_path)
    assert adamtune("init", ".", *FORMS[form]).code == 0
    text = Path("study.yaml").read_text()
    more = re.sub(r"^( +)# ( *\w+:)", r"\1\2", text, flags=re.M)
    Path("study.yaml").write_text(more)
    assert yaml.safe_load(more) != yaml.safe_load(text)
    checked = adamtune("validate", "study.yaml")
    assert checked.code == 0, checked.err


@pytest.mark.parametrize("name", ["study.yaml", "task.py"])
def test_files_that_are_there_are_left_as_they_are(name: str, adamtune: Adamtune, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    refused = adamtune("init", tmp_path)
    assert refused.code == 3
    assert f"{name}: already there" in refused.err
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_two_forms_at_once_are_an_error(adamtune: Adamtune, tmp_path: Path) -> None:
    wrong = adamtune("init", tmp_path, "--function", "--command")
    assert (wrong.code, list(tmp_path.iterdir())) == (2, [])


@pytest.mark.parametrize(
    ("folder", "name"),
    [("my-model", "my-model"), ("a b_2", "a-b-2"), ("1e3", "study-1e3"), ("no", "study-no"), ("ü", "study")],
)
def test_the_study_has_the_name_of_its_folder(
    folder: str, name: str, adamtune: Adamtune, tmp_path: Path
) -> None:
    assert adamtune("init", tmp_path / folder).code == 0
    text = (tmp_path / folder / "study.yaml").read_text()
    assert yaml.safe_load(text)["name"] == name
    assert f"adamtune report {name}\n" in text
