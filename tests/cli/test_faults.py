"""Real faults through the whole program: a message, an exit code, and nothing committed is lost."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

from adamtune.search import loop
from adamtune.search.run import STOPPING
from adamtune.storage.local.lock import study_lock
from adamtune.storage.studies import list_studies
from adamtune.tasks.mlp import Mlp

from .conftest import Ended
from .studies import Adamtune, write

MEMBERS = {"population": {"engine": "population", "population": 4}, "sequential": {"engine": "sequential"}}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "study.yaml")


def fails(ended: Ended, code: int, *words: str) -> None:
    """The command ended with this code and a message that says so much, without a traceback."""
    assert ended.code == code, ended
    for word in words:
        assert word in ended.err
    assert "Traceback" not in ended.err + ended.out
    assert "adamtune failed" not in ended.err


def kept(file: Path, name: str = "s") -> list[tuple[int, str, float | None]]:
    """The trials that Optuna finds, so the database opens."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{file.with_name('studies.db')}")
    try:
        found = optuna.load_study(study_name=name, storage=storage).trials
        return [(each.number, each.state.name, each.value) for each in found]
    finally:
        storage.remove_session()
        storage.engine.dispose()


def commit_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is time to commit again after some steps, however fast they are."""
    ticks = count()
    monkeypatch.setattr(loop, "perf_counter", lambda: float(next(ticks)))
    monkeypatch.setattr(loop, "COMMIT_SECONDS", 3.5)


# A task that raises


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a method of the mlp raise, and no other."""
    methods = {name: getattr(Mlp, name) for name in ("loss", "metrics")}

    def broken(*args: object) -> None:
        raise ZeroDivisionError("the labels are gone")

    def fail(where: str) -> None:
        for name, method in methods.items():
            monkeypatch.setattr(Mlp, name, broken if name == where else method)

    return fail


@pytest.mark.parametrize("where", ["loss", "metrics"])
@pytest.mark.parametrize("engine", MEMBERS)
def test_a_task_that_raises(
    engine: str, where: str, adamtune: Adamtune, failing: Callable[[str], None], file: Path
) -> None:
    write(file, **MEMBERS[engine])
    assert adamtune("search", file).code == 0
    before = kept(file)
    write(file, **MEMBERS[engine], search={"trials": 9})
    failing(where)
    fails(adamtune("search", file), 1, "task", "ZeroDivisionError: the labels are gone", "kept")
    assert kept(file)[:6] == before
    failing("nowhere")
    assert adamtune("search", file).code == 0
    assert kept(file)[:6] == before
    assert len(kept(file)) == 9


@pytest.mark.parametrize("engine", MEMBERS)
def test_a_new_study_whose_task_raises(
    engine: str, adamtune: Adamtune, failing: Callable[[str], None], file: Path
) -> None:
    write(file, **MEMBERS[engine])
    failing("loss")
    fails(adamtune("search", file), 1, "ZeroDivisionError: the labels are gone")
    failing("nowhere")
    assert adamtune("search", file).code == 0
    assert len(kept(file)) == 6


def test_a_task_that_cannot_be_built(adamtune: Adamtune, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise FileNotFoundError("diabetes.csv is not there")

    monkeypatch.setattr(Mlp, "data", broken)
    fails(adamtune("search", file), 2, "FileNotFoundError: diabetes.csv is not there")
    assert list_studies(str(file.with_name("studies.db"))) == []


# The database


def test_a_database_locked_by_another_program(
    adamtune: Adamtune, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert adamtune("search", file).code == 0
    before = kept(file)
    write(file, search={"trials": 9})
    monkeypatch.setattr("adamtune.storage.local.storage.LocalStorage.__init__.__defaults__", (0.05,))
    with closing(sqlite3.connect(file.with_name("studies.db"), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        fails(adamtune("search", file), 1, "another program holds a lock", "try again")
    assert kept(file) == before
    assert adamtune("search", file).code == 0
    assert kept(file)[:6] == before


def test_a_database_that_is_locked_during_the_search(
    adamtune: Adamtune, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was committed before stands, and the same command goes on from there."""
    write(file, search={"trials": 12}, population=4)
    expected = write(file.with_name("another.yaml"), name="t", search={"trials": 12}, population=4)
    assert adamtune("search", expected).code == 0
    monkeypatch.setattr("adamtune.storage.local.storage.LocalStorage.__init__.__defaults__", (0.05,))
    commit_often(monkeypatch)
    other = sqlite3.connect(file.with_name("studies.db"), isolation_level=None, check_same_thread=False)
    commit = loop.Loop._commit
    commits = 0

    def locked(self: loop.Loop) -> None:
        nonlocal commits
        commits += 1
        if commits == 4:
            other.execute("BEGIN EXCLUSIVE")
        commit(self)

    with closing(other):
        with monkeypatch.context() as patched:
            patched.setattr(loop.Loop, "_commit", locked)
            fails(adamtune("search", file), 1, "another program holds a lock", "committed is lost")
        other.execute("ROLLBACK")
    assert adamtune("search", file).code == 0
    assert kept(file) == kept(file, "t")


def damaged(database: Path, content: bytes, adamtune: Adamtune, file: Path, code: int, *words: str) -> None:
    database.write_bytes(content)
    for command in (
        ("search", file),
        ("resume", "s", "--storage", database),
        ("report", "--storage", database),
    ):
        fails(adamtune(*command), code, database.name, *words)
    assert database.read_bytes() == content


def test_a_truncated_database(adamtune: Adamtune, file: Path) -> None:
    write(file, search={"trials": 60})
    assert adamtune("search", file).code == 0
    database = file.with_name("studies.db")
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = database.read_bytes()
    damaged(database, whole[: len(whole) // 2], adamtune, file, 1, "damaged", "left as it")
    database.write_bytes(whole)
    assert len(kept(file)) == 60


def test_a_file_of_another_kind(adamtune: Adamtune, file: Path) -> None:
    database = file.with_name("studies.db")
    damaged(database, b"dear diary\n" * 100, adamtune, file, 3, "not a study database", "as the storage")


def test_a_database_of_another_program(adamtune: Adamtune, file: Path) -> None:
    database = file.with_name("studies.db")
    with closing(sqlite3.connect(database)) as other, other:
        other.execute("CREATE TABLE recipes (name TEXT)")
    damaged(
        database, database.read_bytes(), adamtune, file, 3, "holds no studies of Optuna", "as the storage"
    )


def test_a_schema_of_a_newer_optuna(adamtune: Adamtune, file: Path) -> None:
    assert adamtune("search", file).code == 0
    database = file.with_name("studies.db")
    with closing(sqlite3.connect(database)) as other, other:
        (before,) = other.execute("SELECT version_num FROM alembic_version").fetchone()
        other.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")
    fails(adamtune("search", file), 3, "v99.0.0.a", "newer Optuna: update adamtune")
    with closing(sqlite3.connect(database)) as other, other:
        other.execute("UPDATE alembic_version SET version_num = ?", (before,))
    assert len(kept(file)) == 6


# Checkpoints


@pytest.fixture
def interrupted(adamtune: Adamtune, file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The checkpoint of a search with trials in training; what was finished is kept in the end."""
    write(file, search={"trials": 12}, population=4)
    with monkeypatch.context() as patched:
        commit_often(patched)
        patched.setattr(loop.Loop, "_record", stop_in_training)
        assert adamtune("search", file).code == 130
    finished = [each for each in kept(file) if each[1] != "RUNNING"]
    assert finished
    assert len(finished) < len(kept(file))
    (checkpoint,) = file.parent.glob("*.ckpt")
    yield checkpoint
    assert set(finished) <= set(kept(file))


record = loop.Loop._record


def stop_in_training(self: loop.Loop, evaluations: Any) -> None:
    import signal

    record(self, evaluations)
    if self._tracker.done and self._trainings and STOPPING not in self._tracker._notes:
        signal.raise_signal(signal.SIGINT)


def test_a_missing_checkpoint(adamtune: Adamtune, file: Path, interrupted: Path) -> None:
    moved = interrupted.rename(interrupted.with_name("elsewhere"))
    fails(
        adamtune("search", file),
        1,
        interrupted.name,
        "it is missing",
        "resume STUDY --abandon",
        "adamtune report",
    )
    moved.rename(interrupted)
    assert adamtune("search", file).code == 0


def test_a_garbled_checkpoint(adamtune: Adamtune, file: Path, interrupted: Path) -> None:
    whole = interrupted.read_bytes()
    middle = len(whole) // 2
    for content in (b"", whole[:middle], b"dear diary", bytes(len(whole))):
        interrupted.write_bytes(content)
        fails(adamtune("search", file), 1, interrupted.name, "damaged", "--abandon")
        assert interrupted.read_bytes() == content
    interrupted.write_bytes(whole)
    assert adamtune("search", file).code == 0


@pytest.mark.parametrize("change", [{"number": 1}, {"study": "t"}])
def test_a_checkpoint_of_another_commit(
    change: dict[str, object], adamtune: Adamtune, file: Path, interrupted: Path
) -> None:
    whole = interrupted.read_bytes()
    torch.save(torch.load(interrupted, weights_only=True) | change, interrupted)
    fails(adamtune("search", file), 1, interrupted.name, "belongs to commit", "--abandon")
    interrupted.write_bytes(whole)
    assert adamtune("search", file).code == 0


def test_without_its_checkpoint_a_study_still_reports(
    adamtune: Adamtune, file: Path, interrupted: Path
) -> None:
    interrupted.unlink()
    ended = adamtune("report", "s", "--storage", file.with_name("studies.db"))
    assert ended.code == 0
    assert "unfinished" in ended.out


def test_a_trial_that_no_process_trains_is_not_called_running(
    adamtune: Adamtune, file: Path, interrupted: Path
) -> None:
    database = file.with_name("studies.db")
    unfinished = sum(state == "RUNNING" for _, state, _ in kept(file))

    def said(*command: str) -> str:
        return adamtune(*command, "--storage", database).out

    people = (("studies",), ("report",), ("report", "--format", "markdown"))
    for command in people:
        assert "unfinished" in said(*command)
        assert "running" not in said(*command)
    assert f", {unfinished} unfinished" in said("studies")
    counts = {"running": unfinished}
    assert json.loads(said("studies", "--format", "json"))[0]["counts"].items() >= counts.items()
    assert json.loads(said("report", "--format", "json"))["counts"].items() >= counts.items()
    with study_lock(str(database), "s"):
        for command in people:
            assert "running" in said(*command)
            assert "unfinished" not in said(*command)


# The command line


def test_a_device_that_is_not_there(adamtune: Adamtune, file: Path) -> None:
    if torch.backends.mps.is_available():
        pytest.skip("there is such a device")
    write(file, device="mps")
    fails(adamtune("search", file), 2, "device: mps is not available here")


def test_another_study_file(adamtune: Adamtune, file: Path) -> None:
    assert adamtune("search", file).code == 0
    write(file, task={"epochs": 6})
    fails(adamtune("search", file), 3, "study s exists", "epochs", "5", "6", "another name")
    assert adamtune("search", file, "--name", "t").code == 0


def test_a_folder_of_another_kind(adamtune: Adamtune, file: Path) -> None:
    file.with_name("runs").write_text("")
    fails(
        adamtune("search", file, "--storage", file.parent / "runs" / "studies.db"),
        2,
        "runs",
        "Not a directory",
    )


def test_a_database_that_is_deleted_while_it_is_used(
    adamtune: Adamtune, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def delete(self: loop.Loop, evaluations: Any) -> None:
        record(self, evaluations)
        for path in file.parent.glob("studies.db*"):
            path.unlink()

    monkeypatch.setattr(loop.Loop, "_record", delete)
    fails(adamtune("search", file), 1, "studies.db", "was deleted or replaced")


def test_a_storage_that_is_no_file(adamtune: Adamtune, file: Path) -> None:
    for place in (".", "/", "postgresql://localhost:port/x"):
        fails(adamtune("search", file, "--storage", place), 2, place)
    fails(adamtune("search", file, "--storage", f"{'x' * 300}.db"), 2, "x" * 300, "File name too long")


def test_a_study_that_is_not_there(adamtune: Adamtune, file: Path) -> None:
    database = file.with_name("studies.db")
    fails(adamtune("resume", "s", "--storage", database), 2, "there is no such file")
    assert not database.exists()
    assert adamtune("search", file).code == 0
    fails(adamtune("resume", "t", "--storage", database), 2, "there is no study t", "Studies there: s")


@pytest.mark.parametrize("text", ["\udce4", "a\0b"])
def test_an_argument_that_is_no_text(adamtune: Adamtune, file: Path, text: str) -> None:
    before = sorted(file.parent.iterdir())
    for command in (
        ("search", file, "--storage", f"{text}.db"),
        ("search", file, "--name", text),
        ("search", f"{text}.yaml"),
        ("report", text),
        ("report", "--output", text),
        ("delete", "--yes", text),
    ):
        fails(adamtune(*command), 2, repr(text)[1:-1], "this argument is not UTF-8 text")
    assert sorted(file.parent.iterdir()) == before


@pytest.mark.parametrize("option", ["--trials", "--seed"])
@pytest.mark.parametrize("digits", [4000, 6000])
def test_a_number_of_thousands_of_digits(adamtune: Adamtune, file: Path, option: str, digits: int) -> None:
    ended = adamtune("search", file, option, "9" * digits)
    fails(ended, 2, option)
    assert len(ended.err) < 1000
    key = option.removeprefix("--")
    write(file, search={key: 10**4000})
    fails(
        adamtune("validate", file),
        2,
        f"search.{key}: found 1000",
        "allowed: integer in",
    )


@pytest.mark.parametrize(
    ("key", "written", "said"),
    [
        ("storage", r"\uDCE4.db", "storage: found '\\udce4.db', which is not UTF-8; allowed: text in UTF-8"),
        ("name", r"\uDCE4", "name: found '\\udce4', which is not UTF-8; allowed: text in UTF-8"),
        ("storage", r"a\0b.db", "cannot be printed"),
        ("storage", "runs/", "this is a folder. Name a file in it, such as runs/adamtune.db"),
        ("storage", "sqlite:u.db", "write the path alone: u.db"),
    ],
)
def test_a_key_that_is_taken_literally_is_refused(
    adamtune: Adamtune, file: Path, key: str, written: str, said: str
) -> None:
    keys = {"name": "s", "task": "mlp"} | {key: written}
    file.write_text("".join(f'{name}: "{value}"\n' for name, value in keys.items()))
    for command in ("validate", "search"):
        fails(adamtune(command, file), 2, said)
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize(
    "output", ["studies.db", "studies.db-wal", "studies.db.s.lock", "studies.db.s.1.ckpt"]
)
def test_an_output_over_the_storage_is_refused(adamtune: Adamtune, file: Path, output: str) -> None:
    assert adamtune("search", file).code == 0
    before = {each: each.read_bytes() for each in file.parent.iterdir()}
    database, path = file.with_name("studies.db"), file.with_name(output)
    for form in ("csv", "json", "table", "markdown"):
        ended = adamtune("report", "--format", form, "--storage", database, "--output", path)
        fails(ended, 3, output, "was left as it is. Name another file.")
    assert {each: each.read_bytes() for each in before} == before
    assert len(kept(file)) == 6


def test_an_output_that_names_no_file(adamtune: Adamtune, file: Path) -> None:
    assert adamtune("search", file).code == 0
    before = sorted(file.parent.iterdir())
    (file.with_name("loop")).symlink_to("loop")
    report = ("report", "--storage", file.with_name("studies.db"), "--output")
    for output in ("-", "", f"{file.parent}/new/", file.parent, "$HOME/r.csv", file.with_name("loop")):
        fails(adamtune(*report, output), 2, str(output))
    file.with_name("loop").unlink()
    assert sorted(file.parent.iterdir()) == before
