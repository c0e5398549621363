"""Database servers: PostgreSQL for real where it is installed."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import TrialState

from adamtune.errors import AdamtuneError, UsageError
from adamtune.storage.attributes import write_trial
from adamtune.storage.local.storage import LocalStorage
from adamtune.storage.location import without_password
from adamtune.storage.open_session import open_storage
from adamtune.storage.optuna_private import storage_of, study_id, trial_id
from adamtune.storage.server.connection import open_server, with_driver
from adamtune.storage.server.storage import ServerStorage
from adamtune.storage.studies import delete_study, latest_study, list_studies, read_study

from .together import begun_together


def test_a_file_opens_as_local_storage(tmp_path: Path) -> None:
    for location in (str(tmp_path / "a.db"), f"sqlite:///{tmp_path}/b.db"):
        storage = open_storage(location)
        assert isinstance(storage, LocalStorage)
        storage.create_new_trial(storage.create_new_study([StudyDirection.MINIMIZE], "s"))
        storage.commit()
        storage.close()
        assert len(read_study(location, "s").trials) == 1


def test_a_password_is_never_shown() -> None:
    assert without_password("postgresql://me:se:cret@host/db") == "postgresql://me:***@host/db"
    assert without_password("postgresql://h/db?user=me&password=se&x=1") == (
        "postgresql://h/db?user=me&password=***&x=1"
    )
    assert without_password("runs/adamtune.db") == "runs/adamtune.db"


@pytest.mark.parametrize(
    ("module", "url", "package"),
    [
        ("psycopg2", "postgresql://me:secret@localhost/db", "psycopg2-binary"),
        ("MySQLdb", "mysql://me:secret@localhost/db", "mysqlclient"),
    ],
)
def test_a_missing_driver_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, module: str, url: str, package: str
) -> None:
    for each in (module, "psycopg"):
        monkeypatch.setitem(sys.modules, each, None)  # as if it were not installed
    for use in (open_storage, list_studies):
        with pytest.raises(AdamtuneError, match=rf"({module}).* `pip install {package}`") as caught:
            use(url)
        assert "secret" not in str(caught.value)


def test_a_wrong_url_is_a_usage_error() -> None:
    for url in ("postgre://host/db", "sqlite://"):
        with pytest.raises(UsageError, match=url):
            open_storage(url)


# PostgreSQL


@pytest.fixture
def shared(postgres: str) -> Iterator[ServerStorage]:
    storage = open_storage(postgres)
    assert isinstance(storage, ServerStorage)
    yield storage
    storage.close()


@pytest.mark.slow
class TestPostgres(StorageTestCase):
    @pytest.fixture
    def storage(self, shared: ServerStorage) -> BaseStorage:
        return shared


@pytest.mark.slow
def test_a_search_on_postgres_is_read_listed_and_deleted(shared: ServerStorage, postgres: str) -> None:
    study = optuna.create_study(storage=shared, study_name="s", direction="maximize")
    for _ in range(3):
        trial = study.ask({"x": FloatDistribution(0, 1)})
        shared.beat([trial._trial_id])
        trial.report(float("nan"), 5)
        study.tell(trial, trial.params["x"])
    record = read_study(postgres, "s")
    assert [(each.value, each.params) for each in record.trials] == [
        (t.value, t.params) for t in study.trials
    ]
    assert latest_study(postgres) == "s"
    assert list_studies(postgres)[0].best == study.best_value
    delete_study(postgres, "s")
    assert list_studies(postgres) == []
    with pytest.raises(UsageError, match="no study s"):
        read_study(postgres, "s")


def test_attributes_of_a_trial_are_written_together(tmp_path: Path) -> None:
    """Those that it had before under these names are replaced, and those of others are not."""
    with closing(ServerStorage(f"sqlite:///{tmp_path}/a.db")) as storage:
        study = optuna.create_study(storage=storage)
        trial, other = study.ask(), study.ask()
        for each in (trial, other):
            write_trial(storage_of(study), trial_id(each), {"steps": 1, "seconds": 0.5}, {"beta1": 0.9})
        write_trial(storage_of(study), trial_id(trial), {"steps": 2, "settings": {"a": [1, None]}})
        kept = {"seconds": 0.5, "beta1": 0.9}
        assert study.trials[0].user_attrs == {**kept, "steps": 2, "settings": {"a": [1, None]}}
        assert study.trials[1].user_attrs == {**kept, "steps": 1}
        study.tell(trial, 1.0)
        with pytest.raises(UpdateFinishedTrialError):
            write_trial(storage_of(study), trial_id(trial), {"steps": 3})
        assert study.trials[0].user_attrs["steps"] == 2


def test_a_server_says_whether_a_trial_was_enqueued(tmp_path: Path) -> None:
    with closing(ServerStorage(f"sqlite:///{tmp_path}/a.db")) as storage:
        study, other = optuna.create_study(storage=storage), optuna.create_study(storage=storage)
        study.ask()
        study.enqueue_trial({"x": 0.5})
        assert [storage.has_waiting(study_id(each)) for each in (study, other)] == [True, False]
        assert study.ask().number == 1
        assert not storage.has_waiting(study_id(study))


@pytest.mark.slow
def test_trials_of_a_dead_process_are_taken_over_by_one(
    shared: ServerStorage, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = optuna.create_study(storage=shared, study_name="s")
    dead, alive, finished, silent = (study.ask({"x": FloatDistribution(0, 1)}) for _ in range(4))
    study.tell(finished, 1.0)
    ids = [each._trial_id for each in (dead, alive, silent)]
    with closing(open_server(postgres)) as first, closing(open_server(postgres)) as second:
        forget_heartbeat(postgres, silent._trial_id)
        assert [each.take_over(study._study_id, [], 9) for each in (first, second)] == [[], []]
        monkeypatch.setattr("adamtune.storage.processes.GRACE_SECONDS", 1.0)
        time.sleep(1.5)
        assert shared.beat([alive._trial_id]) == set()
        assert first.take_over(study._study_id, [], 0) == []
        assert first.take_over(study._study_id, [dead._trial_id, silent._trial_id], 9) == []
        assert first.take_over(study._study_id, [], 1) == [dead._trial_id]
        assert second.take_over(study._study_id, [], 9) == [silent._trial_id]
        assert [each.take_over(study._study_id, [], 9) for each in (first, second)] == [[], []]
        assert first.beat(ids) == {silent._trial_id}
        assert shared.beat(ids) == {dead._trial_id, silent._trial_id}
        again = optuna.load_study(study_name="s", storage=first)
        assert again.trials[0].state == TrialState.RUNNING
        assert again.trials[0].params == dead.params


@pytest.mark.slow
def test_a_trial_that_is_taken_over_begins_anew(shared: ServerStorage, postgres: str) -> None:
    """What the dead process reported, and how it was judged, would be held against it."""
    study = optuna.create_study(
        storage=shared, study_name="s", pruner=optuna.pruners.SuccessiveHalvingPruner(1)
    )
    trials = [study.ask({"x": FloatDistribution(0, 1)}) for _ in range(2)]
    for trial in trials:
        for step in range(1, 6):
            trial.report(1.0 - trial.number, step)
            trial.should_prune()
    reported = [(each.intermediate_values, each.system_attrs) for each in study.trials]
    assert all(any("completed_rung" in key for key in attrs) for _, attrs in reported)
    shared.leave([trials[0]._trial_id])
    with closing(open_server(postgres)) as other:
        assert other.take_over(study._study_id, [], 9) == [trials[0]._trial_id]
        other.set_trial_intermediate_value(trials[0]._trial_id, 1, 1.0)
        found = other.get_all_trials(study._study_id)
        assert found[0].params == trials[0].params
        assert (found[1].intermediate_values, found[1].system_attrs) == reported[1]
        study = optuna.load_study(study_name="s", storage=other, pruner=study.pruner)
        assert study.pruner.prune(study, found[0])
        assert found[0].intermediate_values == {1: 1.0}


@pytest.mark.slow
def test_heartbeats_are_compared_whatever_the_time_zone(
    shared: ServerStorage, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = optuna.create_study(storage=shared, study_name="s")
    trial_id = study.ask()._trial_id
    for zone in ("Asia/Tokyo", "America/New_York"):
        monkeypatch.setenv("PGTZ", zone)
        with closing(open_server(postgres)) as other:
            assert other.take_over(study._study_id, [], 9) == []
            assert other.beat([trial_id]) == set()
        assert shared.take_over(study._study_id, [], 9) == []
    shared.leave([trial_id])
    with closing(open_server(postgres)) as other:
        assert other.take_over(study._study_id, [], 9) == [trial_id]


@pytest.mark.slow
def test_of_those_that_ask_at_once_none_goes_past_the_limit(shared: ServerStorage, postgres: str) -> None:
    study_id = optuna.create_study(storage=shared, study_name="s")._study_id
    failed = shared.create_new_trial(study_id)
    shared.set_trial_state_values(failed, TrialState.FAIL)
    assert begun_together(lambda: closing(open_server(postgres)), study_id, 10) == 10
    assert [each.number for each in shared.get_all_trials(study_id)] == list(range(11))


def forget_heartbeat(url: str, trial_id: int) -> None:
    """As if the process had died between creating the trial and its first heartbeat."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(with_driver(url))
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"DELETE FROM trial_heartbeats WHERE trial_id = {trial_id}"))
    engine.dispose()


@pytest.mark.slow
def test_reading_an_empty_postgres_creates_nothing(postgres: str) -> None:
    for _ in range(2):
        with pytest.raises(UsageError, match="no studies yet"):
            list_studies(postgres)


def test_a_server_that_is_gone_is_reported() -> None:
    pytest.importorskip("psycopg2", reason="needs `pip install psycopg2-binary`")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"postgresql://me:secret@127.0.0.1:{free.getsockname()[1]}/db"
    for use in (open_storage, list_studies):
        with pytest.raises(AdamtuneError, match=r"me:\*\*\*@.*the database failed: .*refused") as caught:
            use(url)
        assert "secret" not in str(caught.value)
