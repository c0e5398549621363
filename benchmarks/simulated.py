"""A search whose workers sleep instead of training: what the loop, the sampler and the storage take.

    python -m benchmarks.simulated --workers 1 16 64 256 1000

A training is a second with one evaluation, or with several at equal distances. A worker whose training has
ended waits until the loop has recorded its evaluation, asked for the next trial and sent it. Utilisation is
the part of the time in which workers slept, from the first trial's beginning to the last one's end. CPU is
this process's time on a core.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import product
from pathlib import Path
from typing import Any

from adamtune.config import parse_study
from adamtune.engines.base import Evaluation
from adamtune.engines.distributed.base import Call, Shared
from adamtune.engines.distributed.engine import Distributed
from adamtune.engines.plan import Plan
from adamtune.search.loop import Loop
from adamtune.search.tracker import Tracker
from adamtune.search.trial import Tasks
from adamtune.storage.open_session import open_session
from benchmarks.tables import machine, table


class Sleeper:
    """A worker that makes the evaluations of a training at equal distances.

    Args:
        index: its place.
        pool: when it answers.
    """

    def __init__(self, index: int, pool: Sleepers) -> None:
        self._index, self._pool = index, pool
        self._made: dict[int, int] = {}  # the evaluations of each member
        self._answers: deque[Any] = deque()
        self._until = 0.0

    def send(self, calls: Sequence[Call]) -> None:
        """Takes calls; see ``Worker.send``."""
        answer: Any = None
        self._until = max(time.perf_counter(), self._until)
        for name, *arguments in calls:
            if name == "admit":
                self._made |= dict.fromkeys(arguments[0], 0)
            elif name == "state":
                answer = []
            elif name == "begin":
                answer = ""
            elif name == "advance":
                self._until += self._pool.interval
                answer = [(number, self._evaluation(number)) for number in list(self._made)]
        self._answers.append(answer)
        heappush(self._pool.times, (self._until, self._index))

    def _evaluation(self, number: int) -> Evaluation:
        made, most = self._made.pop(number) + 1, self._pool.evaluations
        if made < most:
            self._made[number] = made
        metrics = {"val_loss": 1.0, "train_loss": 1.0}
        member: Any = None
        return Evaluation(member, 100 * made // most, metrics, None, made == most, self._pool.interval)

    def receive(self) -> tuple[bool, Any]:
        """The next answer."""
        self._pool.ready.remove(self._index)
        return True, self._answers.popleft()

    def close(self) -> None:
        """Nothing is to end."""


class Sleepers:
    """A pool of workers that sleep.

    Args:
        count: workers.
        seconds: seconds of a training.
        evaluations: evaluations of a training.

    Attributes:
        interval: seconds between two evaluations.
        times: when workers answer, and their places: a heap.
        ready: the places of workers that have answered.
    """

    replaces = True

    def __init__(self, count: int, seconds: float, evaluations: int) -> None:
        self.count, self.evaluations, self.interval = count, evaluations, seconds / evaluations
        self.times: list[tuple[float, int]] = []
        self.ready: list[int] = []

    def start(self, index: int) -> Sleeper:
        """A worker."""
        return Sleeper(index, self)

    def wait(self, timeout: float) -> Sequence[int]:
        """The workers whose time has come."""
        first = self.times[0][0] if self.times and not self.ready else 0.0
        time.sleep(max(0.0, min(timeout, first - time.perf_counter())))
        while self.times and self.times[0][0] <= time.perf_counter():
            self.ready.append(heappop(self.times)[1])
        return self.ready

    def share(self, value: Any) -> Shared:
        """Nothing: nobody trains."""
        return None  # type: ignore[return-value]

    def room(self) -> str:
        """Nothing is waited for."""
        return ""

    def close(self) -> None:
        """Nothing is to end."""


def measure(
    workers: int,
    trials: int,
    seconds: float,
    sampler: str = "random",
    evaluations: int = 1,
    storage: str | None = None,
) -> dict[str, float]:
    """What a search does in a second, the part of the time in which workers sleep, and its CPU ms.

    Args:
        workers: workers.
        trials: trials of the search.
        seconds: seconds of a training.
        sampler: the sampler.
        evaluations: evaluations of a training.
        storage: where the study is; None for a local file.
    """
    with tempfile.TemporaryDirectory() as folder:
        document = {
            "name": "x",
            "storage": storage or str(Path(folder, "a.db")),
            "task": "mlp",
            "search": {"trials": trials, "sampler": sampler},
        }
        config = parse_study(json.dumps(document), "simulated.yaml")
        session = open_session(config)
        tracker = Tracker(session.study, "val_loss", trials)
        engine = Distributed(Sleepers(workers, seconds, evaluations), Plan("sequential", 1, 1, "cpu", ""))
        tasks = Tasks(config)
        tasks.extremes()  # loads the data
        began, cpu = time.perf_counter(), time.process_time()
        Loop(session, engine, tasks, tracker).run(lambda: None, lambda: None)
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        session.close()
    utilisation = trials * seconds / took / workers
    return {
        "trials a second": trials / took,
        "evaluations a second": trials * evaluations / took,
        "utilisation": utilisation,
        "CPU ms a trial": 1e3 * cpu / trials,
        "CPU ms an evaluation": 1e3 * cpu / trials / evaluations,
    }


def print_table(
    workers: Sequence[int], seconds: float, rounds: int, sampler: str, evaluations: Sequence[int]
) -> None:
    """Measures and prints a row for each number of evaluations of a training and of workers."""
    measure(2, 20, 0.0, sampler)  # imports what is imported late
    rows = []
    for most, count in product(evaluations, workers):
        found = measure(count, count * rounds, seconds, sampler, most)
        rows.append((most, count, *found.values()))
        print(rows[-1], flush=True)
    print("\n" + table(["evaluations of a training", "workers", *found], rows))


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.simulated", description=__doc__)
    options.add_argument("--workers", type=int, nargs="+", default=[1, 16, 64, 256, 1000])
    options.add_argument("--seconds", type=float, default=1.0, help="of each training")
    options.add_argument("--evaluations", type=int, nargs="+", default=[1, 5], help="of each training")
    options.add_argument("--rounds", type=int, default=10, help="trials of each worker")
    options.add_argument("--sampler", default="random")
    arguments = options.parse_args()
    print(f"{machine()}; trainings of {arguments.seconds:g} s, sampler {arguments.sampler}\n")
    own = arguments.workers, arguments.seconds, arguments.rounds, arguments.sampler, arguments.evaluations
    print_table(*own)


if __name__ == "__main__":
    main()
