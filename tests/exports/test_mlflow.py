"""MLflow's own client gives back the runs that were written."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from sys import float_info
from typing import Any

import pytest

from adamtune.errors import AdamtuneError
from adamtune.exports.runs import Run

from .records import BEGAN, ENDED, NAME, runs_of, states

mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")

from adamtune.exports.mlflow import NAME_LENGTH, PARAM_LENGTH, TAG_LENGTH, MlflowTarget  # noqa: E402

WEIRD = ("weird:name %", "a/../b", "/root", "x" * 300)


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of MLflow, which takes seconds to make."""
    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    mlflow.MlflowClient(tracking_uri=f"sqlite:///{path}").get_experiment_by_name("")
    return path


@pytest.fixture
def uri(tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return f"sqlite:///{shutil.copy(tables, tmp_path / 'mlflow.db')}"


def write(uri: str, runs: list[Run], study: str = NAME) -> list[bool]:
    target = MlflowTarget(uri, study)
    return [target.write(each) for each in runs]


class Read:
    """What MLflow has of a study."""

    def __init__(self, uri: str, study: str = NAME) -> None:
        self.client = mlflow.MlflowClient(tracking_uri=uri)
        experiment = self.client.get_experiment_by_name(study)
        runs = self.client.search_runs([experiment.experiment_id])
        self.runs = {each.info.run_name: each for each in runs}
        assert len(self.runs) == len(runs)

    def points(self, name: str) -> dict[str, dict[int, float]]:
        run = self.runs[name]
        history = {key: self.client.get_metric_history(run.info.run_id, key) for key in run.data.metrics}
        return {key: {each.step: each.value for each in points} for key, points in history.items()}


def as_kept(points: Mapping[str, Mapping[int, float]]) -> dict[str, dict[int, Any]]:
    """Points as MLflow gives them back: infinity is the largest number, and NaN equals itself here."""
    kept = {math.inf: float_info.max, -math.inf: -float_info.max}
    return {
        name: {step: "NaN" if math.isnan(each) else kept.get(each, each) for step, each in own.items()}
        for name, own in points.items()
        if own
    }


def test_runs_are_read_back_equal(uri: str) -> None:
    runs = runs_of(states())
    assert all(write(uri, runs))
    found = Read(uri)
    assert found.runs.keys() == {each.name for each in runs}
    for run in runs[1:]:
        stored = found.runs[run.name]
        assert as_kept(found.points(run.name)) == as_kept(run.points)
        if run.trial:
            assert stored.data.params == {name: str(each) for name, each in run.params.items()}
        assert stored.data.tags["adamtune.state"] == run.state
        assert stored.data.tags["adamtune.study"] == NAME
        assert stored.data.tags["mlflow.parentRunId"] == found.runs[NAME].info.run_id
        assert run.begun
        assert stored.info.start_time == int(run.begun.replace(tzinfo=UTC).timestamp() * 1000)
    assert found.runs["trial 0"].info.end_time == int(BEGAN.replace(tzinfo=UTC).timestamp() * 1000) + 1000
    statuses = {name: each.info.status for name, each in found.runs.items()}
    assert statuses == {
        NAME: "RUNNING",
        "trial 0": "FINISHED",
        "trial 1": "FAILED",
        "trial 2": "FINISHED",
        "trial 3": "KILLED",
        "trial 4": "FAILED",
        "trial 5": "RUNNING",
    }
    assert found.runs["trial 1"].data.tags["adamtune.diverged_at"] == "24"


def test_names_and_texts_are_made_to_fit(uri: str) -> None:
    run = replace(
        runs_of(states())[0],
        params={**dict.fromkeys(WEIRD, "p" * 10_000), "weird_name _": 1},
        points={name: {0: float(place)} for place, name in enumerate(WEIRD)},
        tags={"failure": "t" * 10_000, "weird:tag": "x"},
    )
    assert write(uri, [run]) == [True]
    assert write(uri, [run]) == [False]
    found = Read(uri)
    params, tags = found.runs[NAME].data.params, found.runs[NAME].data.tags
    assert params.pop("weird_name _") == "1"
    assert set(params.values()) == {"p" * PARAM_LENGTH}
    assert len(params) == len(WEIRD)
    assert {"a_.._b", "_root", "x" * NAME_LENGTH} < params.keys()
    assert next(name for name in params if name.startswith("weird")).startswith("weird_name _-")
    assert found.points(NAME).keys() == {"weird_name _", "a_.._b", "_root", "x" * NAME_LENGTH}
    assert (len(tags["adamtune.failure"]), tags["adamtune.weird_tag"]) == (TAG_LENGTH, "x")


def test_long_runs_are_written_in_parts(uri: str) -> None:
    run = replace(
        runs_of(states())[0],
        params={f"p{number}": number for number in range(250)},
        points={"loss": {step: step / 7 for step in range(2500)}},
    )
    write(uri, [run])
    found = Read(uri)
    assert found.points(NAME) == run.points
    assert len(found.runs[NAME].data.params) == 250


def test_a_second_export_writes_nothing(uri: str) -> None:
    write(uri, runs_of(states()))
    ids = {name: each.info.run_id for name, each in Read(uri).runs.items()}
    assert not any(write(uri, runs_of(states())))
    assert {name: each.info.run_id for name, each in Read(uri).runs.items()} == ids


def test_what_has_changed_is_added(uri: str) -> None:
    begun = {1: math.inf, 2: math.nan, 23: 0.5}
    after = states(**ENDED, intermediate={**begun, 46: 0.4})
    write(uri, runs_of(states(intermediate=begun)))
    before = Read(uri).runs
    assert write(uri, runs_of(after)) == [True, *[False] * 5, True]
    found = Read(uri)
    assert {name: each.info.run_id for name, each in found.runs.items()} == {
        name: each.info.run_id for name, each in before.items()
    }
    assert as_kept(found.points("trial 5")) == as_kept(runs_of(after)[6].points)
    assert found.runs["trial 5"].info.status == found.runs[NAME].info.status == "FINISHED"


@pytest.mark.parametrize(
    "change", [{"lr": 0.5}, {"intermediate": {23: 0.75}}], ids=["other settings", "other points"]
)
def test_a_trial_that_is_another_replaces_the_old(uri: str, change: dict[str, Any]) -> None:
    """As of a study that was deleted and made anew: MLflow takes no parameter back."""
    study = states()
    last = study.trials[5]
    settings = {**last.settings, **{name: each for name, each in change.items() if name == "lr"}}
    points = change.get("intermediate", last.intermediate)
    other = replace(study, trials=[*study.trials[:5], replace(last, settings=settings, intermediate=points)])
    write(uri, runs_of(study))
    assert write(uri, runs_of(other)) == [*[False] * 6, True]
    found = Read(uri)
    assert len(found.runs) == 7
    assert found.runs["trial 5"].data.params["lr"] == str(settings["lr"])
    assert found.points("trial 5") == {"val_loss": points}


def test_a_study_that_is_another_keeps_its_trials(uri: str) -> None:
    first, *trials = runs_of(states())
    write(uri, [replace(first, params={"task.name": "one"}), *trials])
    other = replace(first, params={"task.name": "another"})
    assert all(write(uri, [other, *trials]))  # the trials get the new parent
    found = Read(uri)
    assert len(found.runs) == 7
    parents = {each.data.tags.get("mlflow.parentRunId") for each in found.runs.values()}
    assert parents == {None, found.runs[NAME].info.run_id}


def test_runs_that_two_processes_wrote_become_one(uri: str) -> None:
    one, other = MlflowTarget(uri, NAME), MlflowTarget(uri, NAME)
    (run,) = runs_of(states())[:1]
    assert one.write(run)
    assert other.write(run)
    MlflowTarget(uri, NAME)
    assert len(Read(uri).runs) == 1


def test_a_study_has_an_experiment_of_its_own(uri: str) -> None:
    write(uri, runs_of(states()))
    other = [replace(each, study="other") for each in runs_of(states())]
    assert all(write(uri, other, "other"))
    assert (len(Read(uri).runs), len(Read(uri, "other").runs)) == (7, 7)


def test_a_deleted_experiment_is_named(uri: str) -> None:
    write(uri, runs_of(states())[:1])
    client = mlflow.MlflowClient(tracking_uri=uri)
    client.delete_experiment(client.get_experiment_by_name(NAME).experiment_id)
    with pytest.raises(AdamtuneError, match="is deleted"):
        MlflowTarget(uri, NAME)
