"""The examples are searched as a user searches them, cut down to a moment of training."""

from __future__ import annotations

import json
import math
import re
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import pytest

from adamtune.cli.main import run
from adamtune.config.document import read_yaml
from adamtune.config.problems import Problems
from adamtune.function import Pruned, Run
from adamtune.tasks.source import load_file

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples"
STUDIES = sorted(FOLDER.glob("*.yaml"))
HEAD = re.compile(r"# Run: adamtune search examples/([\w.]+)(?: \(needs ([\w ]+)\))?")
LOCKSTEP = {"bert", "churn", "lightning_task", "lstm", "resnet"}
SHORT = {"epochs": 1, "steps": 20}


class Study(NamedTuple):
    """A study file of the examples: its content, and the packages that it needs."""

    content: dict[str, Any]
    needs: list[str]


def read(path: Path) -> Study:
    head = HEAD.fullmatch(path.read_text().split("\n", 1)[0])
    assert head, "the first line is the command"
    assert head[1] == path.name
    content: Any = read_yaml(path.read_text(), Problems("study"))
    if isinstance(content["task"], str):
        content["task"] = {"name": content["task"]}
    return Study(content, head[2].split(" and ") if head[2] else [])


def examples(*names: str) -> list[Any]:
    """The studies, or those of some names; packages that an example imports may warn."""
    chosen = [path for path in STUDIES if not names or path.stem in names]
    ignore = pytest.mark.filterwarnings("ignore")
    return [pytest.param(each, id=each.stem, marks=[ignore] * bool(read(each).needs)) for each in chosen]


def have(study: Study) -> Study:
    """The same study; skips where a package that it needs is not installed."""
    for package in study.needs:
        if find_spec(package) is None:
            pytest.skip(f"needs `pip install {package}`")
    return study


def shortened(content: dict[str, Any]) -> dict[str, Any]:
    """The study with a short training in place of the one that the file gives, or leaves to the task."""
    task = content["task"]
    tells = {name: SHORT[name] for name in SHORT.keys() & task.keys()}
    own = {"epochs": 1} if Path(task.get("name", "")).stem in LOCKSTEP else {}
    return {**content, "task": {**task, **tells, **own}}


@pytest.mark.parametrize("path", examples())
def test_examples_are_validated_and_searched(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = have(read(path)).content
    shutil.copytree(FOLDER, tmp_path / "examples")
    study = tmp_path / "examples" / path.name
    study.write_text(json.dumps(shortened(content)))
    database = tmp_path / "studies.db"
    assert run(["validate", str(study)]) == 0, capsys.readouterr().err
    in_lockstep = path.stem in LOCKSTEP
    trials = 2 if in_lockstep else 1  # a program of its own imports its packages for each training
    command = ["search", str(study), "--storage", str(database), "--trials", str(trials)]
    assert run(command) == 0, capsys.readouterr().err
    kept = optuna.load_study(study_name=content["name"], storage=f"sqlite:///{database}")
    assert [trial.state.name for trial in kept.trials] == ["COMPLETE"] * trials
    metrics = [trial.user_attrs["metrics"] for trial in kept.trials]
    assert all(math.isfinite(value) for each in metrics for value in each.values())
    assert metrics[0] != metrics[-1] or not in_lockstep
    assert kept.user_attrs["plan"]["engine"] == ("population" if in_lockstep else "workers")


FUNCTIONS = ["jax_loop", "keras_fit", "lightning_trainer", "line", "transformers_trainer"]
ADAMW = {"optimizer": "adamw", "lr": 1e-3, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.01}
SETTINGS = {**ADAMW, "amsgrad": False, "schedule": "constant", "warmup_fraction": 0.0}


@pytest.mark.parametrize("path", examples(*FUNCTIONS))
def test_functions_end_where_their_trial_is_pruned(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = have(read(path)).content["task"]
    reports: list[Any] = []

    def prune(message: Any) -> bool:
        reports.extend([message] if "step" in message else [])
        return len(reports) < 2

    monkeypatch.chdir(FOLDER)
    train = load_file(FOLDER / task["name"]).train
    with pytest.raises(Pruned):
        train(Run({**SETTINGS, **task}, metrics=("val_loss",), send=prune))
    assert len(reports) == 2
    assert all(math.isfinite(each["metrics"]["val_loss"]) for each in reports)


def test_the_script_logs_what_is_no_report(tmp_path: Path) -> None:
    storage = tmp_path / "studies.db"
    assert run(["search", str(FOLDER / "descent.yaml"), "--storage", str(storage), "--trials", "1"]) == 0
    log = (tmp_path / "studies.db.descent.trials" / "trial-0.log").read_text()
    assert re.fullmatch(r"slope of a line with lr [\d.e-]+\n", log)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_page_links_to_every_example(path: Path) -> None:
    named = re.search(rf"\b{path.stem}\.(?:py|sh)\b", json.dumps(read(path).content["task"]))
    assert named
    assert f"](../examples/{named[0]})" in (ROOT / "docs" / "own-models.md").read_text()
