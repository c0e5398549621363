"""Commits between two steps change nothing, and a search goes on from any of them as if it had not ended."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from adamtune.config import StudyConfig
from adamtune.search import loop
from adamtune.search.loop import Loop
from adamtune.search.run import run
from adamtune.storage.local import checkpoints
from adamtune.storage.local.checkpoints import Checkpoints

from .studies import ENGINES, Trials, interrupt, searched, study, trials

SPACE = {
    "lr": {"low": 1e-2, "high": 1e2, "log": True},
    "momentum": [0.0, 0.9],
    "schedule": {"name": ["constant", "step"], "drops": {"low": 1, "high": 4}},
}
SEARCHES: dict[str, dict[str, Any]] = {
    "tpe, replicates": {"sampler": "tpe", "trials": 12, "seeds": 2},
    "cmaes, median": {"sampler": "cmaes", "trials": 12, "pruner": "median"},
    "tasks": {"trials": 6},
}
EACH = pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("tpe, replicates", "population"),
        ("cmaes, median", "sequential"),
        ("tasks", "population"),
        ("tasks", "sequential"),
    ],
)


def of(folder: Path, name: str, engine: str) -> StudyConfig:
    space = SPACE | ({"task": {"hidden": [[4], [4, 4]]}} if name == "tasks" else {})
    optimizer = ["sgd", "radam"]
    return study(folder, search=SEARCHES[name], space=space, optimizer=optimizer, **ENGINES[engine])


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """It is always time to commit again after one step or two; how many commits there were."""
    ticks = count()
    monkeypatch.setattr(loop, "perf_counter", lambda: float(next(ticks)))
    monkeypatch.setattr(loop, "COMMIT_SECONDS", 2.5)
    commits: list[int] = []
    commit = Loop._commit

    def counting(self: Loop) -> None:
        commit(self)
        commits.append(len(self._trainings))

    monkeypatch.setattr(Loop, "_commit", counting)
    return commits


@pytest.fixture
def undisturbed(another: Path, request: pytest.FixtureRequest) -> Trials:
    """The trials of the study that is committed in the end alone."""
    callspec = request.node.callspec.params
    return searched(of(another, callspec["name"], callspec["engine"]))


class Killed(BaseException):
    """The process is gone: nothing catches it."""


@EACH
def test_a_search_goes_on_from_any_commit(
    engine: str,
    name: str,
    undisturbed: Trials,
    folder: Path,
    often: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed after every eleventh commit, in whatever is trained since the next one."""
    commit = Loop._commit

    def dying(self: Loop) -> None:
        if often and len(often) % 11 == 0:
            often.append(-1)
            raise Killed
        commit(self)

    monkeypatch.setattr(Loop, "_commit", dying)
    file = of(folder, name, engine)
    kills = 0
    while True:
        try:
            outcome = run(file, lambda progress: None)
        except Killed:
            kills += 1
            assert kills < 200
        else:
            break
    assert outcome.reason in ("complete", "already_complete")
    assert kills >= 4
    assert trials(file) == undisturbed
    assert list(folder.glob("*.ckpt*")) == []


@pytest.mark.parametrize("commits", [1, 4])
def test_a_search_that_is_killed_between_two_evaluations_may_ask_for_more(
    commits: int, folder: Path, another: Path, often: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is room for new trials at once, but those in training are under way."""
    commit = Loop._commit

    def dying(self: Loop) -> None:
        if len(often) == commits:
            raise Killed
        commit(self)

    with monkeypatch.context() as patched:
        patched.setattr(Loop, "_commit", dying)
        with pytest.raises(Killed):
            run(study(folder, search={"trials": 3}, population=6), lambda progress: None)
    more = {"search": {"trials": 9}, "population": 6}
    assert searched(study(folder, **more)) == searched(study(another, **more))


@pytest.mark.parametrize("name", [pytest.param("tpe, replicates", marks=pytest.mark.slow), "cmaes, median"])
def test_a_commit_is_of_one_moment_though_training_goes_on(
    name: str, folder: Path, another: Path, often: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread is slow to write; a search goes on from a commit as if it had been killed there."""
    snapshots: list[Path] = []
    save, remove = checkpoints.save, Checkpoints.remove
    file = of(folder, name, "population")

    def slow(path: Path, state: Mapping[str, Any]) -> None:
        sleep(0.02)
        save(path, state)

    def look(self: Checkpoints, keep: int | None = None) -> None:
        remove(self, keep)
        (checkpoint,) = self.database.parent.glob("*.ckpt")
        in_training = {each["number"] for each in checkpoints.load(checkpoint)["state"]["running"]}
        assert {each["number"] for each in trials(file) if each["state"] == "running"} == in_training
        if keep is not None and keep % 6 == 0 and len(snapshots) < 4:
            snapshots.append(another / str(keep))
            snapshots[-1].mkdir()
            for each in self.database.parent.glob("studies.db*"):
                shutil.copy(each, snapshots[-1])

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "save", slow)
        patched.setattr(Checkpoints, "remove", look)
        interrupt(file, 8)
    assert snapshots
    undisturbed = searched(file)
    for snapshot in snapshots:
        assert searched(of(snapshot, name, "population")) == undisturbed, snapshot.name


def test_what_was_not_committed_is_done_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not half kept: the database names no trial that the checkpoint does not know."""
    file = study(folder, population=4)

    def die(self: Loop) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Loop, "_commit", die)
        with pytest.raises(Killed):
            run(file, lambda progress: None)
    assert trials(file) == []
    assert len(searched(file)) == 8
