from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from adamtune.errors import AdamtuneError
from adamtune.storage.local.storage import LocalStorage

MINIMIZE = [StudyDirection.MINIMIZE]


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def test_nothing_of_a_round_is_written_before_the_commit(storage: LocalStorage) -> None:
    study_id = storage.create_new_study(MINIMIZE, "s")
    trial_id = storage.create_new_trial(study_id)
    storage.set_trial_param(trial_id, "x", 0.5, FloatDistribution(0, 1))
    storage.set_trial_intermediate_value(trial_id, 1, 0.5)
    storage.set_study_user_attr(study_id, "key", 1)
    studied = "SELECT number, state FROM trials WHERE study_id IS NOT NULL"
    assert rows(storage.path, "SELECT study_name FROM studies") == [("s",)]
    assert rows(storage.path, studied) == rows(storage.path, "SELECT * FROM trial_params") == []
    assert rows(storage.path, "SELECT * FROM study_user_attributes") == []
    storage.commit()
    assert rows(storage.path, studied) == [(0, "RUNNING")]
    assert len(rows(storage.path, "SELECT * FROM trial_params")) == 1


def test_a_commit_writes_only_what_changed(storage: LocalStorage) -> None:
    study_id = storage.create_new_study(MINIMIZE, "s")
    trials = [storage.create_new_trial(study_id) for _ in range(3)]
    storage.commit()
    before = storage._connection.total_changes
    storage.set_trial_intermediate_value(trials[1], 1, 0.5)
    storage.set_trial_intermediate_value(trials[1], 1, 0.25)
    storage.commit()
    assert storage._connection.total_changes == before + 1
    storage.commit()
    assert storage._connection.total_changes == before + 1


def test_attributes_are_kept_as_they_will_be_read(storage: LocalStorage) -> None:
    study_id = storage.create_new_study(MINIMIZE, "s")
    kept = {"list": [1, (2, 3)]}
    storage.set_study_user_attr(study_id, "k", kept)
    kept["list"].append("later")
    assert storage.get_study_user_attrs(study_id) == {"k": {"list": [1, [2, 3]]}}


def test_attributes_in_memory_are_those_in_the_file(storage: LocalStorage) -> None:
    """Whichever way an attribute becomes JSON, also those that are set together."""
    study_id = storage.create_new_study(MINIMIZE, "s")
    trial_id = storage.create_new_trial(study_id)
    numbers = [0, -7, 10**30, 0.1, -0.0, 1e-300, 5e22, np.float64(0.3), float("inf")]
    values = dict(enumerate([*numbers, True, None, 'a"\u00e9\ud800', (1, 2.0), {"a": (True,)}]))
    attrs = {str(key): value for key, value in values.items()}
    storage.set_trial_user_attrs(trial_id, attrs)
    storage.commit()
    texts = {key: json.dumps(value) for key, value in attrs.items()}
    assert dict(rows(storage.path, "SELECT key, value_json FROM trial_user_attributes")) == texts
    for each in (storage, LocalStorage(storage.path)):
        found = each.get_trial(trial_id).user_attrs
        assert {key: repr(value) for key, value in found.items()} == {
            key: repr(json.loads(text)) for key, text in texts.items()
        }


def test_what_cannot_be_written_changes_nothing(storage: LocalStorage) -> None:
    study_id = storage.create_new_study(MINIMIZE, "s")
    trial_id = storage.create_new_trial(study_id)
    with pytest.raises(TypeError):
        storage.set_trial_user_attr(trial_id, "k", object())
    with pytest.raises(ValueError, match="NaN"):
        storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [float("nan")])
    with pytest.raises(TypeError):
        storage.create_new_trial(study_id, create_trial(value=1.0, user_attrs={"k": object()}))
    (trial,) = storage.get_all_trials(study_id)
    assert (trial.state, trial.user_attrs, trial.values) == (TrialState.RUNNING, {}, None)
    storage.commit()
    assert rows(storage.path, "SELECT * FROM trial_user_attributes") == []


def test_trials_are_not_copied_for_a_reader_that_does_not_ask(storage: LocalStorage) -> None:
    study_id = storage.create_new_study(MINIMIZE, "s")
    trial_id = storage.create_new_trial(study_id)
    assert storage.get_all_trials(study_id, deepcopy=False)[0] is storage.get_trial(trial_id)


def test_listing_studies_reads_no_trials(storage: LocalStorage) -> None:
    study_id = storage.create_new_study(MINIMIZE, "s")
    trial_id = storage.create_new_trial(study_id)
    storage.commit()
    with closing(LocalStorage(storage.path)) as other:
        assert [study.study_name for study in other.get_all_studies()] == ["s"]
        assert other._studies == {}
        assert other.get_trial(trial_id).number == 0
        assert set(other._studies) == {study_id}


def test_deleting_leaves_no_row_and_no_other_study_behind(storage: LocalStorage) -> None:
    doomed, kept = (storage.create_new_study(MINIMIZE, name) for name in ("doomed", "kept"))
    for study_id in (doomed, kept):
        trial_id = storage.create_new_trial(study_id)
        storage.set_trial_param(trial_id, "x", 0.5, FloatDistribution(0, 1))
        storage.set_trial_user_attr(trial_id, "k", 1)
        storage.set_study_user_attr(study_id, "k", 1)
    storage.commit()
    storage.set_trial_user_attr(storage.create_new_trial(doomed), "k", 2)
    storage.delete_study(doomed)
    storage.commit()
    for table in ("studies", "study_directions", "trial_params", "trial_user_attributes"):
        assert len(rows(storage.path, f"SELECT * FROM {table}")) == 1
    assert rows(storage.path, "SELECT study_id FROM trials WHERE study_id IS NOT NULL") == [(kept,)]


def test_ids_go_on_over_blocks_and_are_given_back(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adamtune.storage.local.rows.ID_BLOCK", 4)
    with closing(LocalStorage(database)) as storage:
        study_id = storage.create_new_study(MINIMIZE, "s")
        assert [storage.create_new_trial(study_id) for _ in range(10)] == list(range(1, 11))
        storage.commit()
        assert rows(database, "SELECT trial_id FROM trials WHERE study_id IS NULL") == [(12,)]
    assert rows(database, "SELECT max(trial_id), count(*) FROM trials") == [(10, 10)]


def test_optuna_may_write_to_another_study_meanwhile(storage: LocalStorage) -> None:
    study_id = storage.create_new_study(MINIMIZE, "ours")
    first = storage.create_new_trial(study_id)
    rdb = RDBStorage(f"sqlite:///{storage.path}")
    theirs = rdb.create_new_trial(rdb.create_new_study(MINIMIZE, "theirs"))
    second = storage.create_new_trial(study_id)
    storage.commit()
    assert len({first, second, theirs}) == 3
    assert [trial._trial_id for trial in rdb.get_all_trials(study_id)] == [first, second]
    assert [trial.number for trial in rdb.get_all_trials(study_id)] == [0, 1]
    rdb.remove_session()
    rdb.engine.dispose()


def test_trials_added_behind_its_back_are_reported(storage: LocalStorage) -> None:
    study_id = storage.create_new_study(MINIMIZE, "s")
    storage.create_new_trial(study_id)
    storage.commit()
    with closing(sqlite3.connect(storage.path)) as connection, connection:
        connection.execute("UPDATE trials SET number = 7 WHERE study_id IS NOT NULL")
    with (
        closing(LocalStorage(storage.path)) as other,
        pytest.raises(AdamtuneError, match=r"not numbered 0, 1, 2"),
    ):
        other.get_all_trials(study_id)


def write_study(path: Path, name: str, trials: int) -> None:
    with closing(LocalStorage(path)) as storage:
        study_id = storage.create_new_study(MINIMIZE, name)
        for number in range(trials):
            trial_id = storage.create_new_trial(study_id)
            storage.set_trial_user_attr(trial_id, "owner", [name, number])
            storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [float(number)])
            storage.commit()


def test_two_processes_write_two_studies_of_a_file_that_neither_found(tmp_path: Path) -> None:
    path, names, trials = tmp_path / "new" / "studies.db", ["a", "b"], 60
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    processes = [context.Process(target=write_study, args=(path, name, trials)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    with closing(LocalStorage(path)) as storage:
        for name in names:
            read = storage.get_all_trials(storage.get_study_id_from_name(name))
            assert [trial.user_attrs["owner"] for trial in read] == [[name, i] for i in range(trials)]
    assert rows(path, "SELECT count(*) FROM trials") == [(2 * trials,)]


KILLED = """
import sys
from optuna.study import StudyDirection
from adamtune.storage.local.storage import LocalStorage
storage = LocalStorage(sys.argv[1])
study_id = storage.create_new_study([StudyDirection.MINIMIZE], "s")
storage.create_new_trial(study_id)
storage.commit()
storage.create_new_trial(study_id)
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_killed_process_leaves_its_last_commit(database: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        os.kill(process.pid, signal.SIGKILL)
    with closing(LocalStorage(database)) as storage:
        study_id = storage.get_study_id_from_name("s")
        assert [trial.number for trial in storage.get_all_trials(study_id)] == [0]
        storage.create_new_trial(study_id)
        storage.commit()
        assert [trial.number for trial in storage.get_all_trials(study_id)] == [0, 1]
