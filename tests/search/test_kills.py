"""Searches of one study in several processes that are killed at random."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from adamtune.config import StudyConfig
from adamtune.storage.studies import read_study

from .studies import searched, study, trials

PATIENCE = 1800.0
SEARCH = """
import sys
import adamtune.search.loop, adamtune.storage.processes
adamtune.storage.processes.GRACE_SECONDS = {grace}
adamtune.search.loop.COMMIT_SECONDS = {grace} / 6
from adamtune.cli.main import main
main()
"""


class Searches:
    """Searches of one study file as processes, some of which are killed.

    Args:
        file: the study file.
        grace: seconds after which a process that is not heard of counts as dead.
    """

    def __init__(self, file: Path, grace: float) -> None:
        self._command = [sys.executable, "-c", SEARCH.format(grace=grace), "search", str(file)]
        self.alive: list[subprocess.Popen[str]] = []
        self.killed = 0

    def start(self) -> None:
        """Starts a process."""
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        out = subprocess.DEVNULL
        self.alive.append(
            subprocess.Popen(
                self._command, stdout=out, stderr=subprocess.PIPE, text=True, env=environment, cwd="/tmp"
            )
        )

    def kill(self, process: subprocess.Popen[str]) -> None:
        """Kills a process, whatever it is doing."""
        process.kill()
        process.communicate()
        self.killed += process.returncode == -signal.SIGKILL
        self.alive.remove(process)

    def finish(self) -> None:
        """Waits for the end of every process, which is a good one."""
        for each in self.alive:
            _, said = each.communicate(timeout=PATIENCE)
            assert each.returncode == 0, said
            assert "Traceback" not in said


@pytest.fixture
def searches(tmp_path: Path) -> Iterator[list[Searches]]:
    """An empty list; the processes of what is added to it are killed in the end."""
    made: list[Searches] = []
    yield made
    for process in [process for each in made for process in each.alive]:
        process.kill()
        process.communicate()


def search_under_kills(shared: StudyConfig, searches: Searches, processes: int, kills: int) -> None:
    """Searches a study in some processes, of which each that is killed while it trains is replaced."""
    draw = random.Random(0)
    for _ in range(processes):
        searches.start()
    total = shared.search.trials
    for number in range(kills):
        # Spread over the search: a process is killed when so many trials are done, a moment later.
        wait_for_trials(shared, (number + 1) * total // (kills + 2))
        time.sleep(draw.random() / 5)
        searches.kill(draw.choice(searches.alive))
        searches.start()
    searches.finish()
    assert searches.killed == kills


def wait_for_trials(shared: StudyConfig, done: int) -> None:
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        try:
            if sum(each["state"] != "running" for each in trials(shared)) >= done:
                return
        except Exception:
            pass  # there is no study yet
        time.sleep(0.05)
    pytest.fail(f"there were never {done} trials")


def assert_each_once(shared: StudyConfig, local: StudyConfig) -> None:
    """The trials are those of one process, to the last bit, and of nothing else."""
    expected = searched(local)
    assert len(expected) == local.search.trials
    assert trials(shared) == expected
    assert read_study(shared.storage, "s").study == read_study(local.storage, "s").study | {
        "storage": shared.storage
    }
