"""Searches from Python: what they take, what they say of mistakes, and what they leave as it was."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
import torch

import adamtune
from adamtune.errors import Refused, StudyFileError, UsageError
from adamtune.storage.local.lock import study_lock
from adamtune.tasks.base import Task
from adamtune.tasks.mlp import Mlp

TASK = {"name": "mlp", "dataset": "diabetes", "hidden": [4], "batch_size": 128, "epochs": 5}
"""Ten steps, an evaluation after each."""
LR = {"low": 1e-3, "high": 1e-1, "log": True}


def study(**changed: Any) -> dict[str, Any]:
    search = {"trials": 4, "sampler": "qmc", "confirm": "off"} | changed.pop("search", {})
    return {"name": "s", "task": TASK, "optimizer": "sgd", "space": {"lr": LR}, "search": search} | changed


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def quiet(study: Any, **options: Any) -> adamtune.Study:
    return adamtune.search(study, progress=False, **options)


def same(one: adamtune.Study, other: adamtune.Study) -> None:
    frames = [each.trials.drop(columns="seconds") for each in (one, other)]
    pd.testing.assert_frame_equal(*frames, check_exact=True)


def test_a_dict_is_the_study_file_of_the_same_form(folder: Path) -> None:
    (folder / "study.yaml").write_text(
        """
        name: s
        storage: file.db
        task: {name: mlp, dataset: diabetes, hidden: [4], batch_size: 128, epochs: 5}
        optimizer: sgd
        space: {lr: {low: 1e-3, high: 1e-1, log: true}}
        search: {trials: 4, sampler: qmc, confirm: off}
        """
    )
    same(quiet(study()), quiet("study.yaml"))
    hashes = {each.ranking.study.study_hash for each in (adamtune.load("s"), adamtune.load("s", "file.db"))}
    assert len(hashes) == 1


def test_values_of_numpy_and_paths_are_plain_values_of_a_study(folder: Path) -> None:
    found = quiet(study(storage=folder / "x.db", space={"lr": np.logspace(-3, -1, 3)}))
    assert found.storage == str(folder / "x.db")
    assert set(found.trials["lr"]) <= {0.001, 0.01, 0.1}


def test_options_take_the_place_of_the_studys(folder: Path) -> None:
    found = quiet(study(), name="other", storage=folder / "own.db", trials=2, seed=7, confirm="small")
    kept = found.ranking.study.study
    assert kept is not None
    assert (found.name, found.storage, len(found.trials)) == ("other", str(folder / "own.db"), 2)
    assert (kept["search"]["seed"], kept["search"]["confirm"]) == (7, "small")
    assert found.verdict is not None
    assert found.verdict.outcome != "not_confirmed"


def test_every_problem_of_a_dict_is_told_at_once() -> None:
    with pytest.raises(StudyFileError) as raised:
        quiet(study(optimiser="sgd", space={"lr": object()}, search={"seeds": 0}), trials=0)
    told = "\n".join(raised.value.problems)
    for part in ("study:5: search.seeds", "study:4: space.lr", "trials: found 0", "optimiser", "<object"):
        assert part in told
    assert len(raised.value.problems) == 4
    assert '  4 | space: {"lr": "<object' in str(raised.value)


def test_the_same_problems_as_in_a_file(folder: Path) -> None:
    wrong = study(space={"lr": {"low": 1, "high": 0}, "beta1": "x"}, engine="fast")
    with pytest.raises(StudyFileError) as of_dict:
        quiet(wrong)
    import yaml

    (folder / "study").write_text(yaml.safe_dump(wrong, sort_keys=False, default_flow_style=None))
    with pytest.raises(StudyFileError) as of_file:
        quiet("study")
    without_lines = [
        [each.split(": ", 1)[1] for each in found.value.problems] for found in (of_dict, of_file)
    ]
    assert sorted(without_lines[0]) == sorted(without_lines[1])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (7, "study is 7: give the path of a study file, a dict, or a Study"),
        ("none.yaml", "none.yaml: no such file"),
        ({"task": "mlp"}, "name"),
        ({1: {(2,): 3}}, "cannot be written as YAML"),
        ({**study(), "task": int}, "task is <class 'int'>: give a class with the base class adamtune.Task"),
        ({**study(), "task": 7}, "found 7"),
    ],
)
def test_what_is_no_study_is_said(given: Any, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        quiet(given)
    assert message in str(raised.value)


def test_a_complete_study_is_returned_and_more_trials_extend_it() -> None:
    first = quiet(study())
    same(quiet(study()), first)
    assert len(quiet(study(), trials=6).trials) == 6


def test_a_study_continues_with_other_options() -> None:
    found = quiet(quiet(study()), trials=6)
    assert len(found.trials) == 6
    same(found, quiet(study(name="at_once"), trials=6))
    with pytest.raises(UsageError, match="seed, name: a study is continued with other trials, timeout"):
        quiet(found, seed=3, name="x")


def test_another_study_of_the_name_is_refused() -> None:
    quiet(study())
    with pytest.raises(Refused, match=r"task.hidden: \[4\] -> \[5\]"):
        quiet(study(task=TASK | {"hidden": [5]}))


def test_a_timeout_returns_what_there_is() -> None:
    quiet(study())
    assert 4 <= quiet(study(), trials=100_000, timeout="1s").counts["complete"] < 100_000


def interrupting(monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    """Sends a signal to the process when a view of progress is called for the first time."""
    from adamtune.api import search as module

    sent: list[bool] = []

    def send(progress: object) -> None:
        if not sent:
            sent.append(True)
            signal.raise_signal(number)

    monkeypatch.setattr(module, "_ignore", send)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_raises_and_the_same_call_continues(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as patch:
        interrupting(patch, number)
        with pytest.raises(KeyboardInterrupt, match=r"study s is saved with .*/30 trials"):
            quiet(study(search={"trials": 30}, population=4))
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert adamtune.load("s").counts["complete"] < 30
    same(
        quiet(study(search={"trials": 30}, population=4)),
        quiet(study(name="at_once", search={"trials": 30}, population=4)),
    )


class Drawing(Mlp):
    """A network whose trainings draw, one after the other, from every global generator."""

    def loss(self, model: Any, batch: Any) -> Any:
        noise = torch.rand(()) + np.random.rand() + random.random()
        return super().loss(model, batch) * (1 + 1e-3 * noise)


@pytest.mark.parametrize(("engine", "kind"), [("auto", Mlp), ("sequential", Drawing)])
def test_nothing_global_is_left_changed(engine: str, kind: type[Task]) -> None:
    def state() -> dict[str, Any]:
        return {
            "signals": [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)],
            "torch": torch.get_rng_state().tolist(),
            "numpy": np.random.get_state()[1].tolist(),
            "random": random.getstate(),
            "threads of torch": torch.get_num_threads(),
            "dtype": torch.get_default_dtype(),
            "gradients": torch.is_grad_enabled(),
            "warnings": list(warnings.filters),
            "optuna": optuna.logging.get_verbosity(),
            "threads": {each.ident for each in threading.enumerate()},
        }

    task = {key: each for key, each in TASK.items() if key != "name"}
    long = study(engine=engine, task=task | {"epochs": 1}, search={"trials": 2, "confirm": 10})
    quiet(long, task=kind)  # packages that are imported now add their filters of warnings
    torch.rand(1), np.random.rand(), random.random()  # or two searches would leave the same states
    optuna.logging.set_verbosity(optuna.logging.INFO)
    before = state()
    quiet(long, task=kind, name="again")
    assert state() == before


def test_a_search_in_another_thread_is_the_same() -> None:
    found: list[adamtune.Study] = []
    thread = threading.Thread(target=lambda: found.append(adamtune.search(study())))
    thread.start()
    thread.join()
    same(found[0], quiet(study(name="main")))


def logged(folder: Path) -> dict[str, dict[int, float]]:
    """The curve of each trial that TensorBoard reads."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = {}
    for trial in sorted(folder.glob("trial-*")):
        events = accumulator.EventAccumulator(str(trial)).Reload()
        found[trial.name] = {each.step: each.value for each in events.Scalars("val_loss")}
    return found


def test_a_search_is_exported_while_it_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = quiet(study(), log_to="tensorboard:tb")
    assert capsys.readouterr() == ("", "")
    curves = {f"trial-{trial:05}": part for trial, part in found.curves.groupby("trial")}
    read = logged(folder / "tb" / "s")
    assert read.keys() == curves.keys()
    for name, curve in curves.items():
        assert read[name] == pytest.approx(dict(zip(curve["step"], curve["value"], strict=True)))
    more = adamtune.search(found, trials=5, log_to=["tensorboard:tb", "tensorboard:other"])
    assert len(logged(folder / "tb" / "s")) == len(logged(folder / "other" / "s")) == 5
    assert len(more.trials) == 5
    assert "Logged to tensorboard:other. View: " in capsys.readouterr().err


def test_a_tracker_that_fails_is_a_warning(folder: Path) -> None:
    Path("tb").touch()
    said = r"tensorboard:tb: not everything was written\. The same call writes it"
    with pytest.warns(UserWarning, match=said) as all:
        quiet(study(), log_to="tensorboard:tb")
    assert all[0].filename == __file__
    Path("tb").unlink()
    quiet(study(), log_to="tensorboard:tb")
    assert len(logged(folder / "tb" / "s")) == 4


def test_a_tracker_that_is_unknown_is_said_first(folder: Path) -> None:
    with pytest.raises(UsageError, match="log_to aim:x: write a tracker and a place in it"):
        quiet(study(), log_to="aim:x")
    assert not [*folder.iterdir()]


def test_a_study_that_is_being_trained_is_refused(folder: Path) -> None:
    with study_lock(str(folder / "studies.db"), "s"), pytest.raises(Refused, match="in use by process"):
        quiet(study(), storage=folder / "studies.db")


@pytest.mark.parametrize("progress", [True, False])
def test_progress_goes_to_stderr(progress: bool, capsys: pytest.CaptureFixture[str]) -> None:
    adamtune.search(study(), progress=progress)
    out, err = capsys.readouterr()
    assert out == ""
    assert ("4/4 trials, 4 complete; best val_loss" in err) == progress
    assert progress or not err


def test_importing_and_reading_load_neither_torch_nor_optuna(folder: Path) -> None:
    quiet(study())
    code = (
        "import sys, adamtune; assert 'numpy' not in sys.modules;"
        " adamtune.search, adamtune.load, adamtune.Task, adamtune.Study;"
        " found = adamtune.load('s'); found.best, found.verdict, found.settings_code(), repr(found);"
        " found._repr_html_(), adamtune.studies()[0].counts;"
        " print([each for each in ('torch', 'optuna', 'pandas') if each in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def test_the_function_stays_when_the_package_of_its_name_is_used() -> None:
    from adamtune.search import run

    assert callable(adamtune.search)
    assert callable(run.run)
    assert sys.modules["adamtune.search"] is not adamtune.search
