from __future__ import annotations

import math
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from adamtune.errors import Refused, UsageError
from adamtune.storage import studies
from adamtune.storage.attributes import StudyAttrs, TrialAttrs, write_study, write_trial
from adamtune.storage.local.checkpoints import Checkpoints
from adamtune.storage.local.lock import study_lock
from adamtune.storage.local.storage import LocalStorage
from adamtune.storage.studies import delete_study, latest_study, list_studies, read_study

from .conftest import commit

STUDY: StudyAttrs = {
    "study_file": "name: s\n",
    "study": {"name": "s", "search": {"trials": 4}},
    "study_hash": "ab",
    "data_hash": "cd",
    "metric": "val_loss",
    "versions": {"torch": "2.13.0"},
}
OUTCOME: TrialAttrs = {
    "settings": {"optimizer": "adam", "lr": 0.1, "beta1": 0.9},
    "seeds": [0.25, 0.75],
    "metrics": {"val_loss": 0.5, "train_loss": math.inf},
    "steps": 20,
    "seconds": 1.5,
}


def add(storage: LocalStorage, study_id: int, state: TrialState, value: float | None = None) -> int:
    trial_id = storage.create_new_trial(study_id)
    storage.set_trial_param(trial_id, "lr", 0.1, FloatDistribution(1e-5, 1, log=True))
    storage.set_trial_param(trial_id, "layers", 3.0, IntDistribution(1, 4))
    storage.set_trial_param(trial_id, "optimizer", 1.0, CategoricalDistribution(["sgd", "adam"]))
    storage.set_trial_intermediate_value(trial_id, 10, 0.75)
    storage.set_trial_intermediate_value(trial_id, 20, math.nan)
    write_trial(storage, trial_id, OUTCOME)
    if state == TrialState.PRUNED and value is None:
        write_trial(storage, trial_id, {"diverged_at": 17})
    if state != TrialState.RUNNING:
        storage.set_trial_state_values(trial_id, state, None if value is None else [value])
    return trial_id


@pytest.fixture
def study(storage: LocalStorage) -> LocalStorage:
    study_id = storage.create_new_study([StudyDirection.MINIMIZE], "s")
    write_study(storage, study_id, STUDY)
    add(storage, study_id, TrialState.COMPLETE, 0.5)
    add(storage, study_id, TrialState.COMPLETE, math.inf)
    add(storage, study_id, TrialState.PRUNED, 0.25)
    add(storage, study_id, TrialState.PRUNED)
    add(storage, study_id, TrialState.FAIL)
    add(storage, study_id, TrialState.RUNNING)
    storage.create_new_trial(study_id, create_trial(state=TrialState.WAITING))
    storage.commit()
    return storage


def test_a_study_is_read_as_it_was_kept(study: LocalStorage) -> None:
    record = read_study(str(study.path), "s")
    assert (record.name, record.direction, record.metric) == ("s", "minimize", "val_loss")
    assert (record.study_file, record.study) == (STUDY["study_file"], STUDY["study"])
    assert (record.study_hash, record.data_hash, record.versions) == ("ab", "cd", {"torch": "2.13.0"})
    states = ["complete", "complete", "pruned", "diverged", "failed", "running"]
    assert [(trial.number, trial.state) for trial in record.trials] == list(enumerate(states))
    assert [trial.value for trial in record.trials] == [0.5, math.inf, 0.25, None, None, None]
    assert [trial.diverged_at for trial in record.trials] == [None, None, None, 17, None, None]
    first = record.trials[0]
    assert first.params == {"lr": 0.1, "layers": 3, "optimizer": "adam"}
    assert type(first.params["layers"]) is int
    assert first.settings == OUTCOME["settings"]
    assert (first.seeds, first.metrics) == (OUTCOME["seeds"], OUTCOME["metrics"])
    assert (first.steps, first.seconds) == (20, 1.5)
    assert first.intermediate[10] == 0.75
    assert math.isnan(first.intermediate[20])


def test_a_file_and_a_server_are_read_alike(study: LocalStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server is read through Optuna; here Optuna reads the same file."""
    add(study, study.create_new_study([StudyDirection.MAXIMIZE], "max"), TrialState.COMPLETE, -1.0)
    study.create_new_study([StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE], "two")
    study.commit()
    location, url = str(study.path), f"sqlite:///{study.path}"
    read_file = [read_study(location, name) for name in ("s", "max")]
    listed = list_studies(location)
    monkeypatch.setattr(studies, "local_path", lambda location: None)
    for record in read_file:
        assert repr(read_study(url, record.name)) == repr(replace(record, in_use=True))
    assert list_studies(url) == [replace(each, in_use=True) for each in listed]
    delete_study(url, "max")
    assert [each.name for each in list_studies(url)] == ["s", "two"]


@pytest.mark.parametrize("server", [False, True])
def test_a_study_that_cannot_be_reported(
    study: LocalStorage, monkeypatch: pytest.MonkeyPatch, server: bool
) -> None:
    study.create_new_study([StudyDirection.MAXIMIZE], "max")
    study.create_new_study([StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE], "two")
    url = f"sqlite:///{study.path}"
    if server:
        monkeypatch.setattr(studies, "local_path", lambda location: None)
    with pytest.raises(UsageError, match="study two has 2 objectives"):
        read_study(url, "two")
    with pytest.raises(UsageError, match=r"no study maxx\. Did you mean max\? .*: s, max, two"):
        read_study(url, "maxx")


def test_no_trial_runs_where_no_process_holds_the_study(study: LocalStorage) -> None:
    location = str(study.path)
    assert not read_study(location, "s").in_use
    assert not list_studies(location)[0].in_use
    with study_lock(location, "s"):
        assert read_study(location, "s").in_use
        assert list_studies(location)[0].in_use
        with study_lock(location, "other"):
            pass
    assert not read_study(location, "s").in_use


def test_studies_are_listed_with_counts_and_the_best(study: LocalStorage) -> None:
    first = study.get_all_trials(1)
    (summary,) = list_studies(str(study.path))
    assert (summary.name, summary.metric, summary.direction) == ("s", "val_loss", "minimize")
    assert summary.counts == {"complete": 2, "pruned": 1, "diverged": 1, "failed": 1, "running": 1}
    assert summary.best == 0.5
    assert summary.last_activity == max(t.datetime_complete or t.datetime_start for t in first[:-1])


def test_the_latest_study_is_the_one_worked_on_last(storage: LocalStorage) -> None:
    location = str(storage.path)
    with pytest.raises(UsageError, match="no study yet"):
        latest_study(location)
    old, new = (storage.create_new_study([StudyDirection.MINIMIZE], name) for name in ("old", "new"))
    assert latest_study(location) == "new"
    add(storage, new, TrialState.COMPLETE, 0.5)
    storage.commit()
    assert latest_study(location) == "new"
    add(storage, old, TrialState.COMPLETE, 0.5)
    storage.commit()
    assert latest_study(location) == "old"


def test_a_study_of_plain_optuna_is_reported_with_what_is_known(database: Path) -> None:
    rdb = RDBStorage(f"sqlite:///{database}")
    study = optuna.create_study(storage=rdb, study_name="plain", direction="maximize")
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    trial.report(0.25, 5)
    study.tell(trial, 2.0)
    rdb.remove_session()
    rdb.engine.dispose()
    record = read_study(str(database), "plain")
    assert (record.metric, record.direction, record.study, record.study_file) == (
        "value",
        "maximize",
        None,
        None,
    )
    (only,) = record.trials
    assert (only.state, only.value, only.seeds, only.steps) == ("complete", 2.0, [2.0], 5)
    assert only.settings == only.params == study.trials[0].params
    assert 0 < only.seconds < 60
    assert list_studies(str(database))[0].best == 2.0


@pytest.mark.parametrize("read", [list_studies, latest_study, lambda path: read_study(path, "s")])
def test_reading_creates_no_file(tmp_path: Path, read: object) -> None:
    path = tmp_path / "runs" / "none.db"
    with pytest.raises(UsageError, match=r"none\.db: there is no such file.*adamtune search"):
        read(str(path))  # type: ignore[operator]
    with pytest.raises(UsageError, match="no such file"):
        delete_study(str(path), "s")
    assert list(tmp_path.iterdir()) == []


def test_readers_see_committed_rounds_while_a_writer_is_in_a_transaction(study: LocalStorage) -> None:
    study._connection.execute("BEGIN IMMEDIATE")
    study._connection.execute("UPDATE trials SET state = 'FAIL'")
    assert read_study(str(study.path), "s").trials[0].state == "complete"
    study._connection.execute("ROLLBACK")


def test_reading_imports_neither_torch_nor_optuna(study: LocalStorage) -> None:
    code = (
        "import sys; from adamtune.storage.studies import *;"
        f"read_study({str(study.path)!r}, latest_study({str(study.path)!r}));"
        "print([m for m in ('torch', 'optuna', 'sqlalchemy', 'numpy', 'pandas') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


def test_deleting_takes_the_study_and_its_checkpoints(study: LocalStorage) -> None:
    location = str(study.path)
    study.create_new_study([StudyDirection.MINIMIZE], "kept")
    commit(Checkpoints(study.path, "s"), study, 1, {"step": 1})
    with study_lock(location, "s"), pytest.raises(Refused, match="in use by process"):
        delete_study(location, "s")
    assert len(list_studies(location)) == 2
    delete_study(location, "s")
    assert [each.name for each in list_studies(location)] == ["kept"]
    assert not list(study.path.parent.glob("*.ckpt"))
    with pytest.raises(UsageError, match="no study s"):
        delete_study(location, "s")
    with closing(LocalStorage(study.path)) as again:
        assert [each.study_name for each in again.get_all_studies()] == ["kept"]
