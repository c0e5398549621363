"""Kills studies at random moments, resumes them, and compares them with studies that were never killed.

python -m benchmarks.kills: short mlp, cnn and transformer studies and one of a user's task with dropout and
batch normalisation, each with both engines. A study is killed (SIGKILL) and run again until it has its
verdict; a kill may come at any moment, in the imports, in the creation of the database, between two commits
and within one. A part of the kills wait until all trials have ended: they are of the confirmation. Then
report and confirmation have to be those of the same study which ran undisturbed, to the last bit (wall time
aside). It goes round until there were enough kills. Columns: the kills by what the study had in its storage
afterwards: not yet a trial that ended, some, all (the confirmation), or its verdict.
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
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

from adamtune.analysis.confirmation import Confirmation
from adamtune.errors import AdamtuneError
from adamtune.storage.records import StudyRecord
from adamtune.storage.studies import read_study
from benchmarks.command_line import parser
from benchmarks.processes import ROOT, python
from benchmarks.studies import NAME, study_file
from benchmarks.tables import machine, table

TASKS: dict[str, dict[str, Any]] = {
    "mlp": {"dataset": "diabetes", "hidden": [16]},
    "cnn": {"channels": [4], "hidden": 8, "batch_size": 256},
    "transformer": {"d_model": 8, "layers": 1, "context": 8, "batch_size": 4},
    "own": {},
}
"""The smallest that are tasks of their kind."""
NAMES = {"own": f"{ROOT / 'benchmarks' / 'problems.py'}:Normalized"}
"""The names of tasks that study files give, where they are others."""
BUDGETS: dict[str, dict[str, dict[str, int]]] = {
    "population": {
        **{"mlp": {"epochs": 600}, "cnn": {"epochs": 8}, "transformer": {"steps": 250}},
        "own": {"epochs": 12},
    },
    "sequential": {
        **{"mlp": {"epochs": 14}, "cnn": {"epochs": 2}, "transformer": {"steps": 30}},
        "own": {"epochs": 2},
    },
}
"""Some seconds of training, by engine: enough for a commit or two."""
TRIALS = 24
SEARCH = {
    "trials": TRIALS,
    "sampler": "tpe",
    "pruner": "median",
    "seeds": 2,
    "confirm": "small",
    "ablate": "on",
}
BASELINES = {"own": "lr_only"}
"""The baselines of tasks; the default of the others."""
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
LATE = 0.25
"""The part of the kills that come in the confirmation, if the study gets there."""
STAGES = ("no trial", "search", "confirmation", "verdict")


@dataclass
class Case:
    """A study, and what was seen of it.

    Attributes:
        expected: the report of the study that nobody killed, and its confirmation.
        seconds: how long that took.
        confirming: how long its confirmation took.
        kills: their number by stage.
        failures: what went wrong, in words.
    """

    task: str
    engine: str
    file: Path
    expected: dict[str, Any]
    seconds: float
    confirming: float
    studies: int = 0
    kills: Counter[str] = field(default_factory=Counter)
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
            left = options.kills - sum(each.kills.total() for each in cases)
            if left <= 0:
                break
            killed_and_compared(case, drawn, min(left, MOST))
    print(table(["task", "engine", "studies", *STAGES, "failures"], [_row(case) for case in cases]))
    failures = [failure for case in cases for failure in case.failures]
    kills = sum(each.kills.total() for each in cases)
    print("\n".join(["", *failures, f"{kills} kills, {len(failures)} failures"]))
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
    settings = TASKS[task] | BUDGETS[engine][task]
    document = json.loads(study_file(NAMES.get(task, task), settings, SEARCH, space=SPACE))
    changed = {"optimizer": OPTIMIZERS, "engine": engine, "population": POPULATION}
    file.write_text(json.dumps(document | changed | {"baseline": BASELINES.get(task, "default")}))
    storage = folder / f"{task}-{engine}.db"
    began = time.perf_counter()
    process = started(file, storage)
    wait_for_confirmation(process, storage)
    searched = time.perf_counter()
    if process.wait():
        python("adamtune", "search", file, "--storage", storage)  # says what failed
    ended = time.perf_counter()
    return Case(task, engine, file, found(storage), ended - began, ended - searched)


def started(file: Path, storage: Path) -> subprocess.Popen[bytes]:
    """A search in a process of its own."""
    command = [sys.executable, "-m", "adamtune", "search", str(file), "--storage", str(storage)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for_confirmation(process: subprocess.Popen[bytes], storage: Path) -> None:
    """Waits until all trials have ended, or the process."""
    while process.poll() is None and stage(storage) in STAGES[:2]:
        time.sleep(0.05)


def stage(storage: Path) -> str:
    """How far a study is, by what its storage has."""
    study = record(storage)
    ended = 0 if study is None else sum(each.state != "running" for each in study.trials)
    if study is None or ended < TRIALS:
        return STAGES[ended > 0]
    return STAGES[2 if study.confirmation is None or not is_confirmed(study) else 3]


def is_confirmed(study: StudyRecord) -> bool:
    """Whether a study has its verdict, and nothing is to be trained for it."""
    assert study.confirmation is not None
    return not Confirmation.from_json(study.confirmation).missing()


def record(storage: Path) -> StudyRecord | None:
    """The study in its storage; None before it is there."""
    try:
        return read_study(str(storage), NAME) if storage.exists() else None
    except AdamtuneError:
        return None


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
            case.kills[stage(storage)] += 1
        try:
            python("adamtune", "search", case.file, "--storage", storage)
            compared = found(storage)
        except SystemExit as failure:
            case.failures.append(f"{case.task}, {case.engine}: {failure}")
        else:
            if compared != case.expected:
                case.failures.append(f"{case.task}, {case.engine}: another report:\n{json.dumps(compared)}")


def killed(case: Case, storage: Path, drawn: random.Random) -> int:
    """Runs the study and kills it some time later; its exit code, 0 if it was complete before that."""
    late, early = drawn.random() < LATE, drawn.random() < EARLY
    seconds = drawn.uniform(0, STARTED if early else max(case.seconds, STARTED))
    process = started(case.file, storage)
    if late:
        wait_for_confirmation(process, storage)
        seconds = drawn.uniform(0, case.confirming)
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.kill()
    return process.wait()


def found(storage: Path) -> dict[str, Any]:
    """The JSON report, but for wall time, and the confirmation."""
    made = python("adamtune", "report", NAME, "--format", "json", "--storage", storage).figures
    for trial in made["trials"]:
        del trial["seconds"]
    return made | {"confirmation": read_study(str(storage), NAME).confirmation}


def _row(case: Case) -> list[object]:
    kills = [case.kills[each] for each in STAGES]
    return [case.task, case.engine, case.studies, *kills, len(case.failures)]


if __name__ == "__main__":
    main()
