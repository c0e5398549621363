"""Studies on a database server or in a journal, whose trials several processes train."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import optuna
import pytest

from adamtune.config import StudyConfig
from adamtune.errors import Refused
from adamtune.search.run import resume, run
from adamtune.storage.open_session import open_session, open_storage
from adamtune.storage.processes import GRACE_SECONDS
from adamtune.storage.studies import list_studies, read_study

from .studies import SPACE, Trials, interrupt, searched, study, trials

pytestmark = pytest.mark.slow

GRACE = 3.0
WITH_A_SHORT_GRACE = f"""
import sys
import adamtune.storage.processes
from adamtune.search import loop
adamtune.storage.processes.GRACE_SECONDS = {GRACE}
loop.COMMIT_SECONDS = {GRACE} / 6
from adamtune.cli.main import main
main()
"""
PATIENCE = 120.0


@pytest.fixture(params=["postgres", "journal"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The location of a storage that processes share."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres"))
    return f"journal:{tmp_path}/studies.log"


class Processes:
    """Searches of one study, as processes; those that are left are killed in the end."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.started: list[subprocess.Popen[str]] = []

    def start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", WITH_A_SHORT_GRACE, "search", str(self.file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def finish(self, process: subprocess.Popen[str]) -> str:
        """Waits for its end, which is a good one; what it said."""
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
        assert "Traceback" not in err
        assert "Warning" not in err
        return out + err


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    made = Processes(tmp_path / "study.yaml")
    yield made
    for process in made.started:
        process.kill()
        process.communicate()


def long(folder: Path, epochs: int = 400, trials: int = 30, **changed: Any) -> StudyConfig:
    """Some seconds of training, and quasi-random: what a trial is depends on its number alone."""
    space = SPACE | {"lr": {"low": 1e-3, "high": 10.0, "log": True}}
    task = {"epochs": epochs, "batch_size": 64}
    return study(folder, task=task, space=space, search={"trials": trials}, **changed)


def wait_for(file: StudyConfig, *, finished: int = 0, running: int = 0, begun: int = 0) -> None:
    """Until the study has so many trials in these states, and so many in all."""
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        try:
            states = [each["state"] for each in trials(file)]
        except Exception:
            states = []
        in_training = states.count("running")
        if in_training >= running and len(states) - in_training >= finished and len(states) >= begun:
            return
        time.sleep(0.05)
    pytest.fail(f"never {finished} finished and {running} running trials")


def stop(process: subprocess.Popen[str], journal: Path) -> None:
    """Stops a process, but not while it holds the lock of a journal, for which the others would wait."""
    while True:
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        if not journal.exists():
            return
        with journal.open("rb") as file, suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        process.send_signal(signal.SIGCONT)
        time.sleep(0.05)


def assert_close(found: Trials, expected: Trials) -> None:
    """The same trials, but for the rounding of batched kernels; they may end in any order."""
    assert [each["number"] for each in found] == [each["number"] for each in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["settings"] == theirs["settings"]
        assert ours["state"] == theirs["state"]
        assert ours["seeds"] == pytest.approx(theirs["seeds"], rel=1e-3)
        assert ours["steps"] == theirs["steps"]
        assert list(ours["intermediate"]) == list(theirs["intermediate"])


@pytest.mark.parametrize("sampler", ["tpe", "qmc"])
def test_a_search_comes_to_the_same_among_processes(sampler: str, shared: str, folder: Path) -> None:
    search = {"trials": 16, "sampler": sampler, "seeds": 2, "pruner": "median"}
    local, remote = (
        study(folder, search=search, space=SPACE, engine="sequential", **place)
        for place in ({}, {"storage": shared})
    )
    assert searched(remote) == searched(local)
    assert run(remote, lambda progress: None).reason == "already_complete"


def test_an_interrupted_search_leaves_its_trials_to_others(shared: str, folder: Path) -> None:
    """At once: nobody has to wait until it counts as dead."""
    local, remote = (study(folder, population=4, **place) for place in ({}, {"storage": shared}))
    interrupt(remote, 1)
    began = time.monotonic()
    assert resume(shared, "s", {}, lambda progress: None).reason == "complete"
    assert time.monotonic() - began < GRACE_SECONDS / 2
    assert_close(trials(remote), searched(local))


def test_a_trial_that_suggested_nothing_is_taken_over(
    shared: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adamtune.storage.processes.GRACE_SECONDS", 0.5)
    local, remote = (study(folder, population=4, **place) for place in ({}, {"storage": shared}))
    interrupt(remote, 1)
    with closing(open_storage(shared)) as storage:
        optuna.load_study(study_name="s", storage=storage).ask()  # it died before it suggested anything
    time.sleep(1.0)
    assert resume(shared, "s", {}, lambda progress: None).reason == "complete"
    assert_close(trials(remote), searched(local))


OPENED = """
import sys
from pathlib import Path
from contextlib import suppress
import adamtune.search.run, alembic.command, sqlalchemy.dialects.postgresql
with suppress(ImportError):
    import psycopg2
from adamtune.config import load_study
from adamtune.storage.open_session import open_session, open_storage
file = load_study(Path(sys.argv[1]), {})
print("ready", flush=True)
sys.stdin.readline()
open_session(file).close()
"""


def test_processes_that_begin_at_once_make_one_study(shared: str, folder: Path) -> None:
    path = folder / "study.yaml"
    path.write_text(study(folder, storage=shared).text)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPENED, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for each in processes:
        assert each.stdout
        assert each.stdout.readline() == "ready\n"
    for each in processes:
        assert each.stdin
        each.stdin.write("\n")
        each.stdin.flush()
    said = [each.communicate(timeout=PATIENCE)[1] for each in processes]
    assert [each.returncode for each in processes] == [0] * 4, said
    assert [each.name for each in list_studies(shared)] == ["s"]


def test_another_study_file_is_refused_though_no_trial_was_begun(shared: str, folder: Path) -> None:
    """Another process may be about to begin one."""
    open_session(study(folder, storage=shared)).close()
    for changed in ({"optimizer": "adam"}, {"objective": {"metric": "val_r2"}}):
        with pytest.raises(Refused, match="with other settings"):
            run(study(folder, storage=shared, **changed), lambda progress: None)
    assert run(study(folder, storage=shared), lambda progress: None).reason == "complete"


def test_two_processes_share_the_trials(shared: str, folder: Path, processes: Processes) -> None:
    remote = long(folder, 60, engine="sequential", storage=shared)
    processes.file.write_text(remote.text)
    both = [processes.start() for _ in range(2)]
    said = [processes.finish(each) for each in both]
    done = trials(remote)
    assert done == searched(long(folder, 60, engine="sequential"))
    counts = [int(text.partition(" trials done, ")[2].partition(" of them in this run")[0]) for text in said]
    assert sum(counts) == len(done)
    assert min(counts) >= 1
    assert "running" not in {each.state for each in read_study(shared, "s").trials}


def test_the_trials_of_a_killed_process_are_taken_over(
    shared: str, folder: Path, processes: Processes
) -> None:
    remote = long(folder, population=6, engine="population", storage=shared)
    processes.file.write_text(remote.text)
    first = processes.start()
    wait_for(remote, finished=1, running=4)
    first.kill()
    assert first.wait() == -signal.SIGKILL
    left = [each["number"] for each in trials(remote) if each["state"] == "running"]
    assert left
    processes.finish(processes.start())
    assert_close(trials(remote), searched(long(folder, population=6, engine="population")))


def test_a_busy_process_takes_over_as_many_as_it_has_room_for(
    shared: str, folder: Path, processes: Processes
) -> None:
    remote = long(folder, 1000, population=6, engine="population", storage=shared)
    processes.file.write_text(remote.text)
    first, second = processes.start(), processes.start()
    wait_for(remote, running=8)  # more than one of them trains alone
    first.kill()
    processes.finish(second)
    assert_close(trials(remote), searched(long(folder, 1000, population=6, engine="population")))


def test_a_process_that_was_slow_does_not_mind_that_its_trials_were_taken_over(
    shared: str, folder: Path, processes: Processes
) -> None:
    remote = long(folder, 8000, 6, population=6, engine="population", storage=shared)
    processes.file.write_text(remote.text)
    first = processes.start()
    wait_for(remote, running=3, begun=6)  # it asks for no more
    stop(first, folder / "studies.log")
    processes.finish(processes.start())
    expected = trials(remote)
    first.send_signal(signal.SIGCONT)
    processes.finish(first)
    assert trials(remote) == expected
    assert_close(expected, searched(long(folder, 8000, 6, population=6, engine="population")))
