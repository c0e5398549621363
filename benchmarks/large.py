"""Studies of many trials: what a further trial costs, and how long it takes to resume and to report them.

    python -m benchmarks.large --trials 1000 10000
    python -m benchmarks.large --trials 100000 --keep-curves 1000

The first trials are written by the loop of a search through the real storage, with an engine that answers at
once instead of training; each makes 10 evaluations. Then a few trials more are asked from every sampler and
judged by every pruner, and the commands run in processes of their own. The first table has milliseconds of
processor time a trial, for suggesting, logging and judging it; the second, seconds of processor time and the
most memory that a process had.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from adamtune.config import StudyConfig, parse_study
from adamtune.engines.base import Evaluation, Member
from adamtune.search.loop import Loop
from adamtune.search.tracker import Tracker
from adamtune.search.trial import Tasks
from adamtune.storage.local.session import LocalSession
from adamtune.storage.local.storage import LocalStorage
from adamtune.storage.open_session import open_session
from benchmarks.studies import NAME, SPACE
from benchmarks.tables import machine, table

EVALUATIONS = 10
TOGETHER = 16
"""Trials in training at once."""
LAST = 512
"""Trials whose logging is measured."""
MORE = 96
"""Trials that each sampler suggests, and each pruner judges, after those."""
SAMPLERS = {"random": math.inf, "qmc": math.inf, "tpe": math.inf, "cmaes": 10_000, "gp": 100}
"""Samplers, and how many trials a study may have for them to be measured in minutes."""
PRUNERS = ("asha", "hyperband", "median")
COMMANDS: Mapping[str, Sequence[str]] = {
    "studies": ["studies"],
    "report": ["report", NAME],
    "json": ["report", NAME, "--format", "json", "--output", "report.json"],
    "csv": ["report", NAME, "--format", "csv", "--output", "report.csv"],
    "html": ["report", NAME, "--format", "html", "--output", "report.html"],
    "resume": ["resume", NAME, "--trials", "{more}"],
}
"""The commands; ``more`` is the number of trials and 5."""

MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
"""
"""Prints the seconds of processor time and the peak memory (KiB) of a command."""


class Instant:
    """An engine whose trainings take no time; their losses follow from lr and beta1."""

    slots = TOGETHER

    def __init__(self, evaluations: int = EVALUATIONS) -> None:
        self._evaluations = evaluations
        self._steps: dict[Member, int] = {}

    def admit(self, members: Sequence[Member]) -> None:
        """Begins trainings."""
        self._steps |= dict.fromkeys(members, 0)

    def advance(self, pause: Callable[[], bool] = lambda: False) -> list[Evaluation]:
        """An evaluation of every training, at the steps where its task has one."""
        answers = [self._evaluation(each, step) for each, step in self._steps.items()]
        self._steps = {each.member: each.step for each in answers if not each.ends}
        return answers

    def _evaluation(self, member: Member, before: int) -> Evaluation:
        total = member.task.steps
        step = min(total, before + math.ceil(total / self._evaluations))
        lr, beta1 = (member.hyperparameters[name] for name in ("lr", "beta1"))
        if lr > 0.05 and step > total / 2:
            return Evaluation(member, step, {}, step, False, 0.001)
        loss = (math.log10(lr) + 2.5) ** 2 + beta1 + math.exp(-4 * step / total) + member.trial % 7 / 70
        metrics = {"val_loss": loss, "val_r2": 1 - loss, "train_loss": 0.9 * loss}
        return Evaluation(member, step, metrics, None, step == total, 0.001)

    def release(self, members: Sequence[Member]) -> None:
        """Ends trainings."""
        for each in members:
            del self._steps[each]

    def state(self) -> dict[str, Any]:
        """The steps of every training."""
        return {"steps": list(self._steps.values())}

    def restore(self, members: Sequence[Member], state: Mapping[str, Any]) -> None:
        """Continues trainings."""
        self._steps = dict(zip(members, state["steps"], strict=True))


def study(path: Path, trials: int, **search: Any) -> StudyConfig:
    """The study of a file, with keys of its section ``search``."""
    keys = {"trials": trials, "sampler": "random", "confirm": "off"} | search
    document = {"name": NAME, "task": "mlp", "space": SPACE, "search": keys, "storage": str(path)}
    return parse_study(json.dumps(document), "large.yaml")


def extend(session: Any, config: StudyConfig, evaluations: int = EVALUATIONS) -> float:
    """Adds the trials that are missing; milliseconds of each, without the first ones.

    The first ones read what was there before.
    """
    tracker = Tracker(session.study, config.objective.metric, config.trials)
    tasks = Tasks(config)
    tasks.extremes()  # loads the data
    first, times = tracker.done + TOGETHER, list[tuple[int, float]]()

    def observe() -> None:
        if tracker.done >= first:
            times.append((tracker.done, time.process_time()))

    Loop(session, Instant(evaluations), tasks, tracker).run(lambda: None, observe)
    (before, began), (after, ended) = times[0], times[-1]
    return 1e3 * (ended - began) / (after - before)


def grow(path: Path, trials: int, keep_curves: int | str, evaluations: int) -> float:
    """Extends the study to so many trials; milliseconds of each of the last ones."""
    took = 0.0
    for total in (trials - LAST, trials):
        config = study(path, total, keep_curves=keep_curves)
        session = open_session(config)
        took = extend(session, config, evaluations)
        session.close()
    return took


def further(path: Path, trials: int, folder: Path, **search: Any) -> float:
    """Milliseconds of each trial that a sampler or a pruner adds to a copy of the study."""
    copied = Path(shutil.copy(path, folder / "copy.db"))
    config = study(copied, trials + MORE, **search)
    # Not `open_session`, which refuses to go on with another sampler.
    session = LocalSession(config, LocalStorage(copied))
    took = extend(session, config)
    session.close()
    return took


def command(arguments: Sequence[str], path: Path, folder: Path) -> tuple[float, float]:
    """Seconds and peak memory in MiB of a command."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    whole = [sys.executable, "-m", "adamtune", *arguments, "--storage", str(path)]
    # A process of its own waits for it: the peak of a child counts the memory that it was forked with.
    measured = subprocess.run(
        [sys.executable, "-c", MEASURE, *whole],
        cwd=folder,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    if measured.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed: {measured.stderr}")
    seconds, peak = measured.stdout.split()
    return float(seconds), float(peak) / 1024


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.large", description=__doc__)
    options.add_argument("--trials", type=int, nargs="+", default=[1_000, 10_000])
    options.add_argument("--keep-curves", default="all", help="search.keep_curves: all, or a number")
    options.add_argument("--evaluations", type=int, default=EVALUATIONS, help="of each of the first trials")
    options.add_argument("--file", type=Path, help="keep the study in this file")
    arguments = options.parse_args()
    keep = arguments.keep_curves if arguments.keep_curves == "all" else int(arguments.keep_curves)
    print(f"{machine()}; keep_curves: {keep}\n")
    costs, times = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = (arguments.file or folder / "large.db").absolute()
        for trials in sorted(arguments.trials):
            logged = grow(path, trials, keep, arguments.evaluations)
            size = path.stat().st_size / 2**20
            asked = [
                further(path, trials, folder, sampler=each) if trials <= most else None
                for each, most in SAMPLERS.items()
            ]
            pruned = [further(path, trials, folder, pruner=each) for each in PRUNERS]
            costs.append((f"{trials:,}", size, logged, *asked, *pruned))
            print(costs[-1], flush=True)
            lines = [[word.format(more=trials + 5) for word in each] for each in COMMANDS.values()]
            taken = [command(each, path, folder) for each in lines]
            page = (folder / "report.html").stat().st_size / 2**20
            times.append(
                (f"{trials:,}", *(f"{seconds:.1f} s, {peak:.0f} MiB" for seconds, peak in taken), page)
            )
            print(times[-1], flush=True)
    print(table(["trials", "file, MiB", "log", *SAMPLERS, *PRUNERS], costs), "\n")
    print(table(["trials", *COMMANDS, "page, MiB"], times))


if __name__ == "__main__":
    main()
