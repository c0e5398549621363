"""The baseline: Optuna and torch as a skilled user combines them, without adamtune's engines.

Worker processes of one torch thread each share a TPE study in SQLite. Prints one JSON line.

    python -m benchmarks.plain cnn --trials 64 --processes 2 --storage /tmp/plain.db
"""

from __future__ import annotations

import argparse
import json
import math
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import STARTED

if TYPE_CHECKING:
    import optuna

    from adamtune.tasks.loaded import LoadedTask

STUDY = "plain"
PRUNERS = {"none": "NopPruner", "median": "MedianPruner", "asha": "SuccessiveHalvingPruner"}


@dataclass(frozen=True)
class Arguments:
    """What the workers are to do."""

    task: str
    settings: dict[str, Any]
    trials: int
    processes: int
    storage: Path
    seed: int
    pruner: str
    target: float | None
    seconds: float | None


@dataclass
class Work:
    """What a worker has trained; seconds are of training and evaluation, without Optuna."""

    steps: int = 0
    seconds: float = 0.0


def main() -> None:
    arguments = parse()
    study = open_study(arguments, create=True)
    processes = min(arguments.processes, arguments.trials)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        work = list(pool.map(partial(run_worker, arguments), range(processes)))
    print(json.dumps(summary(arguments, study, work)))


def parse() -> Arguments:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plain", description=__doc__)
    parser.add_argument("task", choices=["mlp", "cnn", "transformer"])
    parser.add_argument("--settings", type=json.loads, default={}, help="the task's settings, as JSON")
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--storage", type=Path, required=True, help="a new SQLite file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pruner", choices=PRUNERS, default="none")
    parser.add_argument("--target", type=float, help="a val_loss that is good enough: the search stops there")
    parser.add_argument("--seconds", type=float, help="no trial is begun that long after the start")
    arguments = Arguments(**vars(parser.parse_args()))
    if arguments.trials < 1 or arguments.processes < 1:
        parser.error("--trials and --processes must be at least 1")
    if arguments.storage.exists():
        parser.error(f"{arguments.storage} exists: name a new file, for the study has to start from nothing")
    return arguments


def open_study(arguments: Arguments, create: bool = False, worker: int = 0) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        storage=f"sqlite:///{arguments.storage}",
        study_name=STUDY,
        sampler=optuna.samplers.TPESampler(seed=arguments.seed + worker),
        pruner=getattr(optuna.pruners, PRUNERS[arguments.pruner])(),
        load_if_exists=not create,
    )


def run_worker(arguments: Arguments, worker: int) -> Work:
    """Trains trials of the shared study until the last one has been started."""
    import torch
    from optuna.study import MaxTrialsCallback

    from adamtune.tasks.registry import TASKS

    torch.set_num_threads(1)
    task = TASKS[arguments.task].build(arguments.settings)
    work = Work()
    study = open_study(arguments, worker=worker)
    # Counting trials of every state, the running ones too, makes their total come out right.
    study.optimize(
        partial(objective, task, arguments, work),
        callbacks=[MaxTrialsCallback(arguments.trials, states=None), partial(stop_early, arguments)],
    )
    return work


def stop_early(arguments: Arguments, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
    """When the target is reached or the time is used up, every worker stops after the trial in hand."""
    enough = arguments.storage.with_suffix(".enough")
    value, target = trial.value, arguments.target
    good = value is not None and target is not None and value <= target
    if good or (arguments.seconds is not None and time.time() - STARTED > arguments.seconds):
        enough.touch()
    if enough.exists():
        study.stop()


def objective(task: LoadedTask, arguments: Arguments, work: Work, trial: optuna.Trial) -> float:
    """The last val_loss; infinity for a training that diverged, since the sampler ignores NaN."""
    import optuna

    from benchmarks.plain_training import suggest, train

    settings = suggest(trial)
    start, before, value = time.perf_counter(), 0, math.inf
    for step, value in train(task, settings, arguments.seed):
        work.seconds += time.perf_counter() - start
        work.steps += step - before
        if arguments.pruner != "none" and math.isfinite(value):
            trial.report(value, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        start, before = time.perf_counter(), step
    return value if math.isfinite(value) else math.inf


def summary(arguments: Arguments, study: optuna.Study, work: list[Work]) -> dict[str, Any]:
    seconds = time.time() - STARTED
    finished = [trial for trial in study.trials if trial.state.is_finished()]
    improvements = best_so_far(finished)
    target = -math.inf if arguments.target is None else arguments.target
    return {
        "benchmark": "plain",
        "task": arguments.task,
        "trials": len(finished),
        "pruned": sum(trial.state.name == "PRUNED" for trial in finished),
        "processes": arguments.processes,
        "seconds": round(seconds, 3),
        "trials_per_minute": round(60 * len(finished) / seconds, 1),
        "steps_per_second_of_a_process": round(sum(w.steps for w in work) / sum(w.seconds for w in work), 1),
        "best": improvements[-1][1] if improvements else None,
        "improvements": improvements,
        "target_seconds": next((when for when, value in improvements if value <= target), None),
    }


def best_so_far(trials: list[optuna.trial.FrozenTrial]) -> list[tuple[float, float]]:
    """(seconds since the start, value) of each complete trial that was better than all before it."""
    complete = sorted(
        (trial.datetime_complete.timestamp() - STARTED, trial.value)
        for trial in trials
        if trial.state.name == "COMPLETE" and trial.datetime_complete and trial.value is not None
    )
    kept: list[tuple[float, float]] = []
    for seconds, value in complete:
        if value < (kept[-1][1] if kept else math.inf):
            kept.append((round(seconds, 3), value))
    return kept


if __name__ == "__main__":
    main()
