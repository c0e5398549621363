"""Searches of one study in several processes that are killed at random."""

from __future__ import annotations

import json
import multiprocessing
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adamtune.config import StudyConfig, parse_study
from adamtune.search import loop
from adamtune.search.run import run
from adamtune.storage import processes

from .studies import searched, study, trials

PATIENCE = 600.0
FORKS = multiprocessing.get_context("forkserver")
# Processes that begin with everything imported, because an import of torch takes seconds.
FORKS.set_forkserver_preload(["tests.search.test_kills", "sqlalchemy.dialects.postgresql"])


def search(text: str, grace: float) -> None:
    """Runs a search, in which a process that is not heard of for ``grace`` seconds counts as dead."""
    processes.GRACE_SECONDS = grace
    loop.COMMIT_SECONDS = grace / 6
    run(parse_study(text, "study.yaml"), lambda progress: None)


class Searches:
    """Searches of a study in processes, some of which are killed."""

    def __init__(self) -> None:
        self.alive: list[Any] = []

    def start(self, shared: StudyConfig, grace: float) -> None:
        """Starts a process."""
        self.alive.append(FORKS.Process(target=search, args=(shared.text, grace)))
        self.alive[-1].start()

    def kill(self, process: Any) -> None:
        """Kills a process, whatever it is doing."""
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        self.alive.remove(process)

    def finish(self) -> None:
        """Waits for the end of every process, which is a good one."""
        for each in self.alive:
            each.join(PATIENCE)
        assert [each.exitcode for each in self.alive] == [0] * len(self.alive)


@pytest.fixture
def searches() -> Iterator[Searches]:
    """No process yet; those that are left in the end are killed."""
    made = Searches()
    yield made
    for each in made.alive:
        each.kill()
        each.join()


def search_under_kills(
    searches: Searches, shared: StudyConfig, workers: int, kills: int, grace: float
) -> None:
    """Searches a study in ``workers`` processes, of which each that is killed is replaced."""
    draw = random.Random(0)
    for _ in range(workers):
        searches.start(shared, grace)
    for number in range(kills):
        # Spread over the search: when so many trials are done, and a moment later.
        wait_for_trials(shared, (number + 1) * shared.search.trials // (kills + 2), searches)
        time.sleep(draw.random() / 5)
        searches.kill(draw.choice(searches.alive))
        searches.start(shared, grace)
    searches.finish()


def wait_for_trials(shared: StudyConfig, done: int, searches: Searches) -> None:
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        for each in searches.alive:
            assert not each.exitcode
        try:
            if sum(each["state"] != "running" for each in trials(shared)) >= done:
                return
        except Exception:
            pass  # there is no study yet
        time.sleep(0.1)
    pytest.fail(f"there were never {done} trials")


def pair(folder: Path, location: str, trials: int, epochs: int) -> tuple[StudyConfig, StudyConfig]:
    """A study at a shared location, and the same one in a file; a trial depends on its number alone."""
    changed = {"search": {"trials": trials}, "task": {"epochs": epochs}, "engine": "sequential"}
    shared, local = (
        study(folder, **changed, storage=each) for each in (location, str(folder / "studies.db"))
    )
    return shared, local


def assert_each_once(shared: StudyConfig, local: StudyConfig) -> None:
    """The trials are those of one process, to the last bit: none is missing, none is there twice."""
    found = trials(shared)
    assert len(found) == local.search.trials
    assert found == searched(local)


def endings(journal: Path) -> list[int]:
    """How often the end of each trial was written to a journal, by the trial's id."""
    changes = [json.loads(line) for line in journal.read_text().splitlines()]
    return list(Counter(each["trial_id"] for each in changes if each.get("state", 0) != 0).values())


def test_three_processes_on_a_journal_under_kills(folder: Path, searches: Searches) -> None:
    journal = folder / "studies.log"
    shared, local = pair(folder, f"journal:{journal}", 24, 20)
    search_under_kills(searches, shared, workers=3, kills=2, grace=1.0)
    assert_each_once(shared, local)
    assert endings(journal) == [1] * 24


@pytest.mark.slow
@pytest.mark.parametrize("place", ["journal", "postgres"])
def test_eight_processes_make_a_thousand_trials_under_kills(
    place: str, folder: Path, searches: Searches, request: pytest.FixtureRequest
) -> None:
    journal = folder / "studies.log"
    location = f"journal:{journal}" if place == "journal" else request.getfixturevalue("postgres")
    shared, local = pair(folder, location, 1000, 20)
    search_under_kills(searches, shared, workers=8, kills=12, grace=5.0)
    assert_each_once(shared, local)
    if place == "journal":
        assert endings(journal) == [1] * 1000
