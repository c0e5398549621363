from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from adamtune.cli.main import app
from adamtune.storage.studies import list_studies

from .conftest import Ended

Adamtune = Callable[..., Ended]


def test_list_for_people(adamtune: Adamtune, storage: Path) -> None:
    code, out, err = adamtune("studies", "--storage", storage)
    assert (code, err) == (0, "")
    assert re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "DAY       TIME  ", out) == (
        "study          best  metric    last activity     trials\n"
        "digits-cnn  0.05610  val_loss  DAY       TIME    2 complete, 1 pruned, 1 diverged\n"
        "empty                value                       0 complete\n"
    )


def test_list_for_programs(adamtune: Adamtune, storage: Path) -> None:
    code, out, err = adamtune("studies", "--format", "json", "--storage", storage)
    assert (code, err) == (0, "")
    first, second = json.loads(out)
    assert datetime.fromisoformat(first.pop("last_activity")).tzinfo is not None
    assert first == {
        "study": "digits-cnn",
        "metric": "val_loss",
        "direction": "minimize",
        "counts": {"complete": 2, "pruned": 1, "diverged": 1, "failed": 0, "running": 0},
        "best": 0.0561,
    }
    assert (second["study"], second["best"], second["last_activity"]) == ("empty", None, None)


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, 1), ("n\n", 1, 2), ("", 1, 2)])
def test_delete_asks(storage: Path, answer: str, code: int, left: int) -> None:
    ended = CliRunner().invoke(app, ["delete", "digits-cnn", "--storage", str(storage)], input=answer)
    assert ended.exit_code == code
    assert f"Delete study digits-cnn with its 4 trials from {storage}?" in ended.output
    assert len(list_studies(str(storage))) == left


def test_delete_without_asking(adamtune: Adamtune, storage: Path) -> None:
    assert adamtune("delete", "digits-cnn", "--yes", "--storage", storage) == (
        0,
        f"Deleted study digits-cnn with its 4 trials from {storage}.\n",
        "",
    )
    assert adamtune("report", "digits-cnn", "--storage", storage).code == 2


def test_delete_of_an_unknown_study(adamtune: Adamtune, storage: Path) -> None:
    code, _, err = adamtune("delete", "digits", "--yes", "--storage", storage)
    assert code == 2
    assert "no study digits" in err
