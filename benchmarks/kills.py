"""Kills searches at random moments, resumes them, and compares them with searches that were never killed.

python -m benchmarks.kills: short mlp, cnn and transformer studies, each with both engines. A search is
killed (SIGKILL) and run again until it is complete; a kill may come at any moment, in the imports, in the
creation of the database, between two commits and within one. Then its report has to be that of the same
study which ran undisturbed, to the last bit (wall time aside). It goes round until there were enough kills.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

from benchmarks.command_line import parser
from benchmarks.processes import ROOT, python
from benchmarks.studies import NAME, study_file
from benchmarks.tables import machine, table

TASKS: dict[str, dict[str, Any]] = {
    "mlp": {"dataset": "diabetes", "hidden": [16]},
    "cnn": {"channels": [4], "hidden": 8, "batch_size": 256},
    "transformer": {"d_model": 8, "layers": 1, "context": 8, "batch_size": 4},
}
"""The smallest that are tasks of their kind."""
BUDGETS: dict[str, dict[str, dict[str, int]]] = {
    "population": {"mlp": {"epochs": 600}, "cnn": {"epochs": 8}, "transformer": {"steps": 250}},
    "sequential": {"mlp": {"epochs": 14}, "cnn": {"epochs": 2}, "transformer": {"steps": 30}},
}
"""Some seconds of training, by engine: enough for a commit or two."""
SEARCH = {"trials": 24, "sampler": "tpe", "pruner": "median", "seeds": 2}
SPACE = {
    "lr": {"low": 1e-4, "high": 1e4, "log": True},
    "one_minus_beta1": {"low": 0.02, "high": 0.5, "log": True},
    "schedule": {"name": ["constant", "step"], "drops": {"low": 1, "high": 4}},
}
"""Some trials diverge, and some are asked for more than others."""
OPTIMIZERS = ["adamw", "sgd"]
POPULATION = 6
MOST = 6
"""Kills of one study; then it is left to end."""
EARLY = 0.3
"""The part of the kills that come before training begins, or soon after."""
STARTED = 2.0
"""Seconds in which that is."""


@dataclass
class Case:
    """A study, and what was seen of it.

    Attributes:
        expected: the report of the search that nobody killed.
        seconds: how long that took.
        failures: what went wrong, in words.
    """

    task: str
    engine: str
    file: Path
    expected: dict[str, Any]
    seconds: float
    studies: int = 0
    kills: int = 0
    failures: list[str] = field(default_factory=list)


def main() -> None:
    """Prints a table of kills and failures; the exit code is 1 if there are any."""
    options = arguments()
    drawn = random.Random(options.seed)
    # Threads inside small operations only get in each other's way.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(f"{machine()}\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        cases = [prepared(Path(folder), task, engine) for task in options.tasks for engine in BUDGETS]
        for case in cycle(cases):
            left = options.kills - sum(each.kills for each in cases)
            if left <= 0:
                break
            killed_and_compared(case, drawn, min(left, MOST))
    print(table(["task", "engine", "studies", "kills", "failures"], [_row(case) for case in cases]))
    failures = [failure for case in cases for failure in case.failures]
    print("\n".join(["", *failures, f"{sum(each.kills for each in cases)} kills, {len(failures)} failures"]))
    sys.exit(bool(failures))


def arguments(given: Sequence[str] | None = None) -> Namespace:
    """The command line's."""
    options = parser("kills", __doc__)
    options.add_argument("--kills", type=int, default=100, help="100 by default")
    options.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS), metavar="TASK")
    options.add_argument("--seed", type=int, default=0, help="decides when the kills come")
    return options.parse_args(given)


def prepared(folder: Path, task: str, engine: str) -> Case:
    """The case, after its study ran undisturbed."""
    file = folder / f"{task}-{engine}.yaml"
    document = json.loads(study_file(task, TASKS[task] | BUDGETS[engine][task], SEARCH, space=SPACE))
    changed = {"optimizer": OPTIMIZERS, "engine": engine, "population": POPULATION}
    file.write_text(json.dumps(document | changed))
    storage = folder / f"{task}-{engine}.db"
    run = python("adamtune", "search", file, "--storage", storage)
    return Case(task, engine, file, report(storage), run.seconds)


def killed_and_compared(case: Case, drawn: random.Random, most: int) -> None:
    """One study of the case from its beginning, with at most so many kills."""
    case.studies += 1
    with tempfile.TemporaryDirectory() as folder:
        storage = Path(folder) / "kills.db"
        for _ in range(most):
            code = killed(case, storage, drawn)
            if code == 0:
                break
            if code > 0:
                case.failures.append(f"{case.task}, {case.engine}: a search ended with code {code}")
                return
            case.kills += 1
        try:
            python("adamtune", "search", case.file, "--storage", storage)
            found = report(storage)
        except SystemExit as failure:
            case.failures.append(f"{case.task}, {case.engine}: {failure}")
        else:
            if found != case.expected:
                case.failures.append(f"{case.task}, {case.engine}: another report:\n{json.dumps(found)}")


def killed(case: Case, storage: Path, drawn: random.Random) -> int:
    """Runs the search and kills it some time later; its exit code, 0 if it was complete before that."""
    early = drawn.random() < EARLY
    seconds = drawn.uniform(0, STARTED if early else max(case.seconds, STARTED))
    command = [sys.executable, "-m", "adamtune", "search", str(case.file), "--storage", str(storage)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    process.kill()
    return process.wait()


def report(storage: Path) -> dict[str, Any]:
    """The JSON report, but for wall time."""
    found = python("adamtune", "report", NAME, "--format", "json", "--storage", storage).figures
    for trial in found["trials"]:
        del trial["seconds"]
    return found


def _row(case: Case) -> list[object]:
    return [case.task, case.engine, case.studies, case.kills, len(case.failures)]


if __name__ == "__main__":
    main()
