"""LocalStorage and Optuna's RDBStorage read what the other wrote, attribute by attribute."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection

from adamtune.storage.local.schema import REVISION
from adamtune.storage.local.storage import LocalStorage

Fill = Callable[[BaseStorage, str, tuple[StudyDirection, ...]], int]
DIRECTIONS = {
    "one": (StudyDirection.MINIMIZE,),
    "two": (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE),
}


@pytest.fixture
def rdb(database: Path) -> Iterator[RDBStorage]:
    storage = RDBStorage(f"sqlite:///{database}")
    yield storage
    storage.remove_session()
    storage.engine.dispose()


def comparable(value: Any) -> Any:
    """With NaN equal to itself, and the types of numbers told apart."""
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, dict):
        return {key: comparable(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [comparable(each) for each in value]
    return (type(value).__name__, value)


def everything(storage: BaseStorage) -> list[Any]:
    return [
        (
            study.study_name,
            study._study_id,
            study.directions,
            comparable(study.user_attrs),
            comparable(study.system_attrs),
            [comparable(vars(trial)) for trial in storage.get_all_trials(study._study_id)],
        )
        for study in storage.get_all_studies()
    ]


def test_optuna_reads_what_we_wrote(storage: LocalStorage, rdb: RDBStorage, fill: Fill) -> None:
    for name, directions in DIRECTIONS.items():
        fill(storage, name, directions)
    storage.commit()
    written = everything(storage)
    assert [len(study[-1]) for study in written] == [6, 6]
    assert everything(rdb) == written
    with closing(LocalStorage(storage.path)) as again:
        assert everything(again) == written


def test_we_read_what_optuna_wrote(rdb: RDBStorage, storage: LocalStorage, fill: Fill) -> None:
    for name, directions in DIRECTIONS.items():
        fill(rdb, name, directions)
    assert everything(storage) == everything(rdb)
    best = storage.get_best_trial(1)
    assert comparable(vars(best)) == comparable(vars(rdb.get_best_trial(1)))


def test_rows_are_the_very_same(tmp_path: Path, empty_database: Path, fill: Fill) -> None:
    """Optuna's file and ours hold equal rows, clock times aside (params keep their order by row)."""
    ours, theirs = tmp_path / "ours.db", tmp_path / "theirs.db"
    for path in (ours, theirs):
        path.write_bytes(empty_database.read_bytes())
    rdb = RDBStorage(f"sqlite:///{theirs}")
    fill(rdb, "one", DIRECTIONS["one"])
    rdb.remove_session()
    rdb.engine.dispose()
    with closing(LocalStorage(ours)) as local:
        fill(local, "one", DIRECTIONS["one"])
        local.commit()
    assert dump(ours) == dump(theirs)


def dump(path: Path) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(path)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        tables = {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in names}
    tables["trials"] = [row[:4] for row in tables["trials"]]
    key = {"trial_intermediate_values": 1, "trial_user_attributes": 1, "trial_system_attributes": 1}
    return {
        name: sorted((row[key.get(name, 0) :] for row in rows), key=repr) if name in key else rows
        for name, rows in tables.items()
    }


def test_a_new_file_is_optunas_own(tmp_path: Path) -> None:
    path = tmp_path / "a {folder}? # %41" / "studies.db"
    LocalStorage(path).close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(REVISION,)]
        assert connection.execute("SELECT library_version FROM version_info").fetchall() == [
            (optuna.__version__,)
        ]
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert sorted(each.name for each in path.parent.iterdir()) == ["studies.db", "studies.db.lock"]


def test_a_search_through_optuna_is_the_same_as_in_memory(storage: LocalStorage) -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", -1, 1)
        trial.report(x, 1)
        if trial.should_prune():
            raise optuna.TrialPruned
        return x**2 + trial.suggest_int("n", 1, 4) + (trial.suggest_categorical("c", ["a", "b"]) == "a")

    def search(where: BaseStorage) -> list[Any]:
        sampler = optuna.samplers.TPESampler(seed=1)
        study = optuna.create_study(storage=where, study_name="s", sampler=sampler)
        study.optimize(objective, n_trials=30)
        return [(trial.number, trial.state, trial.params, trial.values) for trial in study.trials]

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        expected = search(optuna.storages.InMemoryStorage())
        assert search(storage) == expected
    finally:
        optuna.logging.set_verbosity(optuna.logging.INFO)
    storage.commit()
    read = optuna.load_study(study_name="s", storage=f"sqlite:///{storage.path}")
    assert [(each.number, each.state, each.params, each.values) for each in read.trials] == expected
