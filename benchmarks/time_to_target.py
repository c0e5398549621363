"""How long a search takes to find settings as good as the best that the plain script finds.

    python -m benchmarks.time_to_target mlp              # about 15 minutes on 2 cores
    python -m benchmarks.time_to_target cnn --seeds 3

The target is the median over the seeds of the best val_loss among the plain script's unpruned trials.
The wall time runs from the start of the process, imports included, to the end of the first complete
trial that is as good. Both sides search the same space and may prune; the better median of each counts.
An unpruned plain run that does not get there counts with its whole time, as if it had got there at its
end. Every other search goes on, up to --extend times the trials, and is given up as never once it has
taken as long as the median of those: what it could still find would not count.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.command_line import add_settings, parser
from benchmarks.processes import python
from benchmarks.studies import TASKS, TRIALS, measured_settings, study_file
from benchmarks.tables import machine, table

PROCESSES = 2
PRUNERS = ("none", "median", "asha")

Times = dict[str, list[float]]
"""Seconds to the target by pruner, one for each seed; infinity for never."""


def main() -> None:
    arguments = parse()
    arguments.settings = measured_settings(arguments.task, arguments.settings)
    trials = arguments.trials or TRIALS[arguments.task]
    seeds = range(arguments.seeds)
    print(f"{machine()}; {arguments.task}, {trials} trials, {len(seeds)} seeds\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        unpruned = [run_plain(arguments, trials, seed, "none", Path(folder)) for seed in seeds]
        target = median(each["best"] for each in unpruned)
        print(f"Target: val_loss {target:.6g}\n", flush=True)
        theirs: Times = {"none": [seconds_to(target, each) for each in unpruned]}
        limits = {"target": target, "at_most": trials * arguments.extend, "seconds": median(theirs["none"])}
        ours: Times = {}
        for pruner in arguments.pruners:
            if pruner != "none":
                found = [plain_to_target(arguments, seed, pruner, limits, Path(folder)) for seed in seeds]
                theirs[pruner] = found
            ours[pruner] = [
                to_target(arguments, trials, seed, pruner, limits, Path(folder)) for seed in seeds
            ]
    print_times(ours, theirs)


def parse() -> argparse.Namespace:
    options = parser("time_to_target", __doc__)
    options.add_argument("task", choices=TASKS)
    add_settings(options)
    options.add_argument("--trials", type=int, help="instead of 256, and of 64 for the transformer")
    options.add_argument("--seeds", type=int, default=5, help="5 by default")
    options.add_argument("--pruners", nargs="+", choices=PRUNERS, default=PRUNERS, help="all by default")
    options.add_argument("--extend", type=int, default=4, metavar="TIMES", help="4 by default")
    return options.parse_args()


def run_plain(
    arguments: argparse.Namespace, trials: int, seed: int, pruner: str, folder: Path, *limits: object
) -> dict[str, Any]:
    storage = folder / f"plain-{pruner}-{seed}.db"
    return python(
        "benchmarks.plain",
        *(arguments.task, "--settings", json.dumps(arguments.settings), "--trials", trials),
        *("--processes", PROCESSES, "--storage", storage, "--seed", seed, "--pruner", pruner, *limits),
    ).figures


def seconds_to(target: float, figures: dict[str, Any]) -> float:
    reached = (when for when, value in figures["improvements"] if value <= target)
    return float(next(reached, figures["seconds"]))


def plain_to_target(
    arguments: argparse.Namespace, seed: int, pruner: str, limits: dict[str, float], folder: Path
) -> float:
    options = "--target", limits["target"], "--seconds", limits["seconds"]
    figures = run_plain(arguments, int(limits["at_most"]), seed, pruner, folder, *options)
    return figures["target_seconds"] or math.inf


def to_target(
    arguments: argparse.Namespace, trials: int, seed: int, pruner: str, limits: dict[str, float], folder: Path
) -> float:
    search = {"trials": trials, "seed": seed, "sampler": "tpe", "pruner": pruner}
    storage = folder / f"adamtune-{pruner}-{seed}.db"
    file = folder / f"{storage.stem}.yaml"
    file.write_text(study_file(arguments.task, arguments.settings, search, storage=str(storage)))
    options = (
        "--target",
        limits["target"],
        "--at-most",
        int(limits["at_most"]),
        "--seconds",
        limits["seconds"],
    )
    return python("benchmarks.reach", file, *options).figures["target_seconds"] or math.inf


def print_times(ours: Times, theirs: Times) -> None:
    rows = [
        (side, pruner, median(seconds), ", ".join(f"{each:.1f}" for each in seconds))
        for side, times in (("adamtune", ours), ("plain", theirs))
        for pruner, seconds in times.items()
    ]
    print(table(["side", "pruner", "median, s", "of each seed, s"], rows))
    best_of_ours, best_of_theirs = (min(map(median, times.values())) for times in (ours, theirs))
    print(f"\nadamtune is there {best_of_theirs / best_of_ours:.3g} times sooner.")


if __name__ == "__main__":
    main()
