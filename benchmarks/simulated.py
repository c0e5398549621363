"""A search whose workers sleep instead of training: what the loop, the sampler and the storage take.

    python -m benchmarks.simulated --workers 1 16 64 256 1000

Each trial is one evaluation after a second. A worker that has answered waits until the loop has recorded its
evaluation, asked for the next trial and sent it. Utilisation is the part of the time in which workers slept,
from the first trial's beginning to the last one's end. The last column is this process's time on a core.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adamtune.config import parse_study
from adamtune.engines.base import Evaluation
from adamtune.engines.distributed.base import Call, Shared
from adamtune.engines.distributed.engine import Distributed
from adamtune.engines.plan import Plan
from adamtune.search.loop import Loop
from adamtune.search.progress import Tracker
from adamtune.search.trial import Tasks
from adamtune.storage.open_session import open_session
from benchmarks.tables import machine, table


class Sleeper:
    """A worker that makes an evaluation after some seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._members: dict[int, Any] = {}
        self._answers: list[tuple[float, Any]] = []

    @property
    def ready_at(self) -> float:
        """When its next answer is there."""
        return self._answers[0][0]

    def send(self, calls: Sequence[Call]) -> None:
        """Takes calls; see ``Worker.send``."""
        answer: Any = None
        at = time.perf_counter()
        for name, *arguments in calls:
            if name == "admit":
                self._members |= arguments[0]
            elif name == "state":
                answer = []
            elif name == "begin":
                answer = ""
            elif name == "advance":
                at += self._seconds
                metrics = {"val_loss": 1.0, "train_loss": 1.0}
                answer = [
                    (number, Evaluation(None, 100, metrics, None, True, self._seconds))  # type: ignore[arg-type]
                    for number in self._members
                ]
                self._members = {}
        self._answers.append((at, answer))

    def receive(self) -> tuple[bool, Any]:
        """The next answer."""
        return True, self._answers.pop(0)[1]

    def close(self) -> None:
        """Nothing is to end."""


class Sleepers:
    """A pool of workers that sleep."""

    replaces = True

    def __init__(self, count: int, seconds: float) -> None:
        self.count, self._seconds = count, seconds

    def start(self, index: int) -> Sleeper:
        """A worker."""
        return Sleeper(self._seconds)

    def wait(self, workers: Sequence[Sleeper], timeout: float) -> Sequence[Sleeper]:
        """The workers whose time has come."""
        first = min(each.ready_at for each in workers)
        time.sleep(max(0.0, min(timeout, first - time.perf_counter())))
        now = time.perf_counter()
        return [each for each in workers if each.ready_at <= now]

    def share(self, value: Any) -> Shared:
        """Nothing: nobody trains."""
        return None  # type: ignore[return-value]

    def room(self) -> str:
        """Nothing is waited for."""
        return ""

    def close(self) -> None:
        """Nothing is to end."""


def measure(workers: int, trials: int, seconds: float, sampler: str) -> dict[str, float]:
    """Trials a second, the part of the time in which workers slept, and CPU ms of this process a trial."""
    with tempfile.TemporaryDirectory() as folder:
        document = {
            "name": "x",
            "storage": str(Path(folder, "a.db")),
            "task": "mlp",
            "search": {"trials": trials, "sampler": sampler},
        }
        config = parse_study(json.dumps(document), "simulated.yaml")
        session = open_session(config)
        tracker = Tracker(session.study, "val_loss", trials)
        engine = Distributed(Sleepers(workers, seconds), Plan("sequential", 1, 1, "cpu", ""))
        tasks = Tasks(config)
        tasks.extremes()  # loads the data
        began, cpu = time.perf_counter(), time.process_time()
        Loop(session, engine, tasks, tracker).run(lambda: None, lambda: None)
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        session.close()
    utilisation = trials * seconds / took / workers
    return {"rate": trials / took, "utilisation": utilisation, "cpu": 1e3 * cpu / trials}


def print_table(workers: Sequence[int], seconds: float, rounds: int, sampler: str) -> None:
    """Measures and prints a row for each number of workers."""
    measure(2, 20, 0.0, sampler)  # imports what is imported late
    rows = []
    for count in workers:
        found = measure(count, count * rounds, seconds, sampler)
        rows.append((count, *found.values()))
        print(rows[-1], flush=True)
    print("\n" + table(["workers", "trials a second", "utilisation", "CPU ms a trial"], rows))


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.simulated", description=__doc__)
    options.add_argument("--workers", type=int, nargs="+", default=[1, 16, 64, 256, 1000])
    options.add_argument("--seconds", type=float, default=1.0, help="of each training")
    options.add_argument("--rounds", type=int, default=10, help="trials of each worker")
    options.add_argument("--sampler", default="random")
    arguments = options.parse_args()
    print(f"{machine()}; trainings of {arguments.seconds:g} s, sampler {arguments.sampler}\n")
    print_table(arguments.workers, arguments.seconds, arguments.rounds, arguments.sampler)


if __name__ == "__main__":
    main()
