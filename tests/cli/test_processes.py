"""Searches as processes that are interrupted, killed, and run twice at once."""

from __future__ import annotations

import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest

from .processes import Done, adamtune, done, kill, report, searching, start
from .studies import write

LONG: dict[str, Any] = {
    "task": {"hidden": [16], "batch_size": 16, "epochs": 1000},
    "space": {"lr": {"low": 1e-4, "high": 10.0, "log": True}, "schedule": ["constant", "cosine"]},
    "search": {"trials": 40, "seeds": 2},
}
"""Some seconds, and a commit or two."""
ENGINES: dict[str, dict[str, Any]] = {
    "population": {"engine": "population", "population": 8},
    "sequential": {"engine": "sequential", "task": LONG["task"] | {"epochs": 5}},
}
REPORTS: dict[str, dict[str, Any]] = {}

pytestmark = pytest.mark.slow


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def file(tmp_path: Path, engine: str) -> Path:
    return write(tmp_path / "study.yaml", **(LONG | ENGINES[engine]))


@pytest.fixture
def storage(file: Path) -> Path:
    return file.with_name("studies.db")


@pytest.fixture
def undisturbed(file: Path, engine: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report of a study that nothing happened to."""
    if engine not in REPORTS:
        storage = tmp_path_factory.mktemp("undisturbed") / "studies.db"
        assert adamtune("search", file, "--storage", storage).code == 0
        REPORTS[engine] = report(storage)
        assert REPORTS[engine]["counts"]["complete"] > 20
        assert REPORTS[engine]["counts"]["diverged"] > 0
    return REPORTS[engine]


def in_optuna(storage: Path, name: str = "s") -> list[optuna.trial.FrozenTrial]:
    opened = optuna.storages.RDBStorage(f"sqlite:///{storage}")
    try:
        return optuna.load_study(study_name=name, storage=opened).trials
    finally:
        opened.remove_session()
        opened.engine.dispose()


def finished(storage: Path) -> int:
    return sum(each.state.is_finished() for each in in_optuna(storage))


def stopped(process: subprocess.Popen[str], *signals: signal.Signals) -> Done:
    for number in signals:
        process.send_signal(number)
        time.sleep(0.02)
    return done(process)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_search_saves_and_says_how_to_go_on(
    number: signal.Signals, file: Path, storage: Path, undisturbed: dict[str, Any]
) -> None:
    with searching("search", file) as process:
        ended = stopped(process, number)
    assert ended.code == 130
    assert "Traceback" not in ended.err
    assert ended.err.splitlines()[-2].endswith("Continue with:")
    resume = ended.err.splitlines()[-1].strip().removeprefix(f"{sys.executable} -m adamtune ")
    assert shlex.split(resume) == ["resume", "s", "--storage", str(storage)]
    assert 0 < finished(storage) < 40
    assert adamtune(*shlex.split(resume)).code == 0
    assert report(storage) == undisturbed


def test_the_second_interruption_ends_at_once(file: Path, storage: Path, undisturbed: dict[str, Any]) -> None:
    with searching("search", file) as process:
        ended = stopped(process, signal.SIGINT, signal.SIGINT)
    assert ended.code in (130, -signal.SIGINT)  # the latter if it comes when everything is said and done
    assert "Traceback" not in ended.err
    assert finished(storage) < 40
    assert adamtune("search", file).code == 0
    assert report(storage) == undisturbed


def test_a_killed_search_goes_on_as_if_nothing_had_happened(
    file: Path, storage: Path, undisturbed: dict[str, Any]
) -> None:
    drawn = random.Random(0)
    for _ in range(4):
        process = start("search", file)
        time.sleep(drawn.uniform(0.2, 5.0))
        process.kill()
        process.communicate()
        assert not storage.exists() or optuna.get_all_study_names(f"sqlite:///{storage}") in ([], ["s"])
    assert adamtune("search", file).code == 0
    assert report(storage) == undisturbed
    assert list(storage.parent.glob("*.ckpt*")) == []


def test_a_second_process_is_refused_until_the_first_is_dead(
    file: Path, storage: Path, undisturbed: dict[str, Any]
) -> None:
    with searching("search", file) as first:
        for command in (("search", file), ("resume", "s", "--storage", storage)):
            second = adamtune(*command)
            assert second.code == 3
            assert f"in use by process {first.pid}" in second.err
            assert "another name" in second.err
            assert "Traceback" not in second.err
        assert first.poll() is None, "the search ended before"
        kill(first)
    assert adamtune("search", file).code == 0
    assert report(storage) == undisturbed


def test_others_are_not_blocked(file: Path, storage: Path, undisturbed: dict[str, Any]) -> None:
    """Readers, Optuna, and searches of other studies in the same file; nor do they disturb the search."""
    small = write(file.with_name("small.yaml"), name="small")
    with searching("search", file) as process:
        assert adamtune("search", small).code == 0
        assert report(storage, "small")["counts"]["running"] == 0
        assert len(report(storage)["trials"]) > 0
        assert len(in_optuna(storage)) > 0
        assert adamtune("studies", "--storage", storage).code == 0
        assert process.poll() is None, "the search ended before"
        kill(process)
        assert len(in_optuna(storage)) > 0
    assert adamtune("search", file).code == 0
    assert report(storage) == undisturbed
