"""Studies of adamtune 0.1.0 are listed and reported, and resumed on their data.

``tests/fixtures/v0.1.0`` holds a database with a finished study and one that a timeout stopped in training,
its checkpoint, and two reports of 0.1.0: of the first study, and of the second trained without a stop. The
study files beside them made them: ``search FILE``, the second with ``--timeout 1.2s``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import make_friedman1

from adamtune.tasks.data import Data
from adamtune.tasks.datasets import standardise

from .conftest import Ended

Adamtune = Callable[..., Ended]
FIXTURES = Path(__file__).parents[1] / "fixtures" / "v0.1.0"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    for path in FIXTURES.glob("v0.1.0.db*"):
        shutil.copy(path, tmp_path)
    return tmp_path / "v0.1.0.db"


def reported(adamtune: Adamtune, database: Path, name: str) -> dict[str, Any]:
    code, out, err = adamtune("report", name, "--storage", database, "--format", "json")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def expected(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_text())
    return found


def test_it_is_listed(adamtune: Adamtune, database: Path) -> None:
    code, out, _ = adamtune("studies", "--storage", database)
    assert code == 0
    assert "3 complete, 9 pruned" in out
    assert "0 complete, 4 unfinished" in out


def test_it_is_reported(adamtune: Adamtune, database: Path) -> None:
    found, since = reported(adamtune, database, "finished"), ("verdict", "baseline", "ablations", "advice")
    later = {name: found.pop(name) for name in since}
    assert found == expected("finished")
    assert later["verdict"]["outcome"] == "not_confirmed"
    assert later["verdict"]["sentence"].startswith("Not confirmed: run the search again")
    assert [each["code"] for each in later["advice"]] == ["few_trials"]


def test_other_data_are_refused_with_the_way_out(adamtune: Adamtune, database: Path) -> None:
    """The data sets of 0.1.0 had no test part."""
    code, out, err = adamtune("resume", "in-training", "--storage", database)
    assert (code, out) == (3, "")
    assert "resume it with the versions that it was begun with (adamtune 0.1.0, python 3.11" in err
    assert "0 complete, 4 unfinished" in adamtune("studies", "--storage", database).out


def data_of_0_1_0(samples: int) -> Data:
    """friedman1 as 0.1.0 split it: four fifths for training, one for validation."""
    arrays = make_friedman1(n_samples=samples, noise=1.0, random_state=0)
    order = np.random.RandomState(0).permutation(samples)
    held_out = np.arange(samples) % 5 == 0
    rows = [standardise([each[order[~held_out]], each[order[held_out]]]) for each in arrays]
    return Data(*zip(*rows, strict=True))


def test_training_goes_on_where_it_stopped(
    adamtune: Adamtune, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adamtune.tasks.datasets.friedman1", data_of_0_1_0)
    code, _, err = adamtune("resume", "in-training", "--storage", database, "--timeout", "1h")
    assert code == 0, err
    found, whole = reported(adamtune, database, "in-training"), expected("whole")
    assert found["counts"] == whole["counts"]
    for ours, theirs in zip(found["trials"], whole["trials"], strict=True):
        assert ours["params"] == theirs["params"]
        # Not to the last bit: rounding differs between processors.
        assert ours["value"] == pytest.approx(theirs["value"], rel=1e-3)
    assert [each["number"] for each in found["trials"]] == [each["number"] for each in whole["trials"]]
