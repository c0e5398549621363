"""``adamtune init`` writes files that run at once, and never replaces any."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from .studies import Adamtune

FORMS: dict[str, list[str]] = {"task": [], "function": ["--function"], "command": ["--command"]}


@pytest.mark.parametrize("form", FORMS)
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


@pytest.mark.parametrize("form", FORMS)
def test_what_it_suggests_to_search_can_be_searched(
    form: str, adamtune: Adamtune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lines that are comments at first: without their marks they are a study, too."""
    monkeypatch.chdir(tmp_path)
    assert adamtune("init", ".", *FORMS[form]).code == 0
    text = Path("study.yaml").read_text()
    head, body = text.split("name: my-study", 1)
    more = re.sub(r"^( +)# ( *\w+:)", r"\1\2", body, flags=re.M)
    assert more != body
    Path("study.yaml").write_text(f"{head}name: my-study{more}")
    assert yaml.safe_load(more) != yaml.safe_load(body)
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
