"""Whether tuning a small problem shows anything that holds on training seeds the search has not seen.

    python -m benchmarks.fresh_seeds                     # every problem: about 5 minutes on 2 cores
    python -m benchmarks.fresh_seeds mlp diabetes --searches 5

Three searches of 64 trials of the space of configs/quickstart.yaml. Then the best settings of each, and
AdamW's default ones (lr 1e-3, constant), are trained with 30 other seeds: other weights, other batches.
Where a cell has several figures, they are of the searches in turn. default, sd: mean and standard deviation
of val_loss with the default settings. best: of the search. fresh: mean with the best settings. gap: default
less fresh, in sd. wins: the seeds with which the best settings are better. s: seconds of a search.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable, Mapping
from operator import lt
from pathlib import Path
from statistics import fmean, stdev
from time import perf_counter
from typing import Any

from adamtune.config import parse_study
from adamtune.storage.records import TrialRecord
from adamtune.storage.studies import read_study
from benchmarks.command_line import parser
from benchmarks.tables import machine, table

SPACE: Mapping[str, Any] = {
    "lr": {"low": 1e-4, "high": 1e-1, "log": True},
    "one_minus_beta1": {"low": 0.02, "high": 0.5, "log": True},
    "schedule": ["constant", "cosine"],
}
"""That of configs/quickstart.yaml."""
FRIEDMAN = {"name": "mlp", "dataset": "friedman1"}
PROBLEMS: Mapping[str, Mapping[str, Any]] = {
    "mlp": {"name": "mlp"},  # friedman1, 10,000 rows, 5 epochs
    "diabetes": {"name": "mlp", "dataset": "diabetes", "epochs": 30},
    "friedman1, 1,000 rows, 30 epochs": {**FRIEDMAN, "samples": 1000, "epochs": 30},
    "friedman1, 1,000 rows, 100 epochs": {**FRIEDMAN, "samples": 1000, "epochs": 100},
    "friedman1, 2,000 rows, 30 epochs": {**FRIEDMAN, "samples": 2000, "epochs": 30},
    "friedman1, 5,000 rows, 5 epochs": {**FRIEDMAN, "samples": 5000, "epochs": 5},
    "friedman1, 5,000 rows, 10 epochs": {**FRIEDMAN, "samples": 5000, "epochs": 10},
    "friedman1, 5,000 rows, 30 epochs": {**FRIEDMAN, "samples": 5000, "epochs": 30},
    "friedman1, 10,000 rows, 10 epochs": {**FRIEDMAN, "samples": 10_000, "epochs": 10},
    "digits, 10 epochs": {"name": "benchmarks.problems:Digits"},
    "digits, 30 epochs": {"name": "benchmarks.problems:Digits", "epochs": 30},
    "curves, 10 epochs": {"name": "benchmarks.problems:Curves"},
    "curves, 30 epochs": {"name": "benchmarks.problems:Curves", "epochs": 30},
}
FRESH = 1000
"""The seed of the trainings after the search; those of the searches are 0, 1, 2, ..."""
HEADER = ("problem", "steps", "default", "sd", "best", "fresh", "gap", "wins", "lr", "schedule", "s")


def main() -> None:
    arguments = parse()
    print(f"{machine()}; {arguments.trials} trials, {arguments.seeds} fresh seeds\n", flush=True)
    print(table(HEADER, [compare(problem, arguments) for problem in arguments.problems or PROBLEMS]))


def parse() -> argparse.Namespace:
    options = parser("fresh_seeds", __doc__)
    names, shown = [*PROBLEMS, []], "; ".join(PROBLEMS)
    options.add_argument("problems", nargs="*", choices=names, metavar="PROBLEM", help=shown)
    options.add_argument("--trials", type=int, default=64, help="of a search; 64 by default")
    options.add_argument("--searches", type=int, default=3, help="3 by default")
    options.add_argument("--seeds", type=int, default=30, help="fresh ones; 30 by default")
    return options.parse_args()


def compare(problem: str, arguments: argparse.Namespace) -> tuple[object, ...]:
    """A row of figures; where a cell has several, they are of the searches in turn."""
    task, began = PROBLEMS[problem], perf_counter()
    asked = [{"trials": arguments.trials, "seed": seed} for seed in range(arguments.searches)]
    best = [min(run(task, SPACE, search), key=value) for search in asked]
    seconds = (perf_counter() - began) / len(best)
    default = fresh(task, {"lr": 1e-3}, arguments.seeds)
    tuned = [
        fresh(task, {name: each.settings[name] for name in ("lr", "beta1", "schedule")}, arguments.seeds)
        for each in best
    ]
    return (
        *(problem, best[0].steps, fmean(default), stdev(default)),
        listed(f"{each.final_value:.3g}" for each in best),
        listed(f"{fmean(each):.3g}" for each in tuned),
        listed(f"{(fmean(default) - fmean(each)) / stdev(default):.1f}" for each in tuned),
        listed(str(sum(map(lt, each, default))) for each in tuned),
        listed(f"{each.settings['lr']:.2g}" for each in best),
        listed(each.settings["schedule"] for each in best),
        seconds,
    )


def listed(figures: Iterable[str]) -> str:
    return ", ".join(figures)


def value(trial: TrialRecord) -> float:
    return trial.final_value if trial.state == "complete" else float("inf")


def fresh(task: Mapping[str, Any], space: Mapping[str, Any], seeds: int) -> list[float]:
    """The val_loss of fixed settings with each fresh seed."""
    (trial,) = run(task, space, {"trials": 1, "seed": FRESH, "seeds": seeds})
    return list(trial.seeds)


def run(task: Mapping[str, Any], space: Mapping[str, Any], search: Mapping[str, Any]) -> list[TrialRecord]:
    """Runs a study; its trials."""
    from adamtune.search.run import run as run_study

    with tempfile.TemporaryDirectory() as folder:
        storage = str(Path(folder, "s.db"))
        keys = {"name": "s", "task": task, "space": space, "search": search, "storage": storage}
        run_study(parse_study(json.dumps(keys | {"device": "cpu"}), __name__), lambda progress: None)
        return list(read_study(storage, "s").trials)


if __name__ == "__main__":
    main()
