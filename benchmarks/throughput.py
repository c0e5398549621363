"""How many trials a minute adamtune trains, beside plain Optuna and torch in two processes.

    python -m benchmarks.throughput                      # everything: about 20 minutes on 2 cores
    python -m benchmarks.throughput mlp --trials 64 --rounds 1

End to end: `adamtune search` on a new storage and `benchmarks.plain`, one after the other, each a
process whose imports, storage and suggestions count; the same space and sampler, nothing pruned.
Steady state: the engine alone against the plain training loop alone, evaluations included.
Each figure is the median over the rounds; each ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.command_line import add_rounds, add_settings, add_tasks, parser
from benchmarks.processes import Run, python
from benchmarks.studies import TASKS, TRIALS, measured_settings, study_file
from benchmarks.tables import machine, median_ratio, table

if TYPE_CHECKING:
    from benchmarks.steady import Workload

PROCESSES = 2
FRIEDMAN = {"dataset": "friedman1", "samples": 1000, "batch_size": 64}
"""The mlp whose arithmetic is 19 µs a step on one core at full speed: inputs 10, hidden 64-64, batch 64."""


def main() -> None:
    arguments = parse()
    print(f"{machine()}; {arguments.rounds} rounds\n", flush=True)
    chosen = {each: measured_settings(each, arguments.settings) for each in arguments.tasks or TASKS}
    if "end-to-end" in arguments.parts:
        print_end_to_end(chosen, arguments)
    if "steady" in arguments.parts:
        print_steady(chosen, arguments)


def parse() -> argparse.Namespace:
    options = parser("throughput", __doc__)
    add_tasks(options, TASKS)
    add_settings(options)
    options.add_argument("--trials", type=int, help="instead of 256, and of 64 for the transformer")
    add_rounds(options)
    parts = ["end-to-end", "steady"]
    options.add_argument("--parts", nargs="+", choices=parts, default=parts, help="both by default")
    return options.parse_args()


def print_end_to_end(chosen: Mapping[str, Mapping[str, Any]], arguments: argparse.Namespace) -> None:
    ray = find_spec("ray") is not None
    rows = []
    for task, settings in chosen.items():
        trials = arguments.trials or TRIALS[task]
        rounds = [one_round(task, settings, trials, seed, ray) for seed in range(arguments.rounds)]
        ours, *theirs = ([each[side] for each in rounds] for side in rounds[0])
        beside = (cell for side in theirs for cell in (median(side), median_ratio(ours, side)))
        rows.append((task, trials, median(ours), *beside))
    header = ["task", "trials", "adamtune", "plain", "times plain", "Ray Tune", "times Ray Tune"]
    print(f"End to end, trials a minute\n\n{table(header[: len(rows[0])], rows)}\n", flush=True)


def one_round(task: str, settings: Mapping[str, Any], trials: int, seed: int, ray: bool) -> dict[str, float]:
    """Trials a minute of each side."""
    written = json.dumps(settings)
    common = (task, "--settings", written, "--trials", trials, "--processes", PROCESSES, "--seed", seed)
    with tempfile.TemporaryDirectory() as folder:
        file, storage = Path(folder, "study.yaml"), Path(folder, "adamtune.db")
        file.write_text(study_file(task, settings, {"trials": trials, "seed": seed, "sampler": "tpe"}))
        searched = python("adamtune", "search", file, "--storage", storage)
        plain = python("benchmarks.plain", *common, "--storage", Path(folder, "plain.db"))
    found = {"adamtune": 60 * trials / searched.seconds, "plain": trials_per_minute(plain)}
    return found | ({"ray": trials_per_minute(python("benchmarks.plain_ray", *common))} if ray else {})


def trials_per_minute(run: Run) -> float:
    return float(60 * run.figures["trials"] / run.seconds)


def print_steady(chosen: Mapping[str, Mapping[str, Any]], arguments: argparse.Namespace) -> None:
    from benchmarks.steady import HEADER, side_by_side

    rows = [
        side_by_side(workload, PROCESSES, "cpu", arguments.rounds, arguments.seconds)
        for workload in workloads(chosen, arguments.trials)
    ]
    title = f"Steady state, wall time of a member-step: adamtune, and plain in {PROCESSES} processes"
    print(f"{title}\n\n{table(HEADER, rows)}", flush=True)


def workloads(chosen: Mapping[str, Mapping[str, Any]], trials: int | None) -> Iterator[Workload]:
    """The tasks; the mlp on friedman1 in batches of 64, too."""
    from benchmarks.steady import Workload

    for task, settings in chosen.items():
        yield Workload(task, task, settings, trials or TRIALS[task])
        if task == "mlp":
            friedman = {**settings, **FRIEDMAN}
            yield Workload("mlp, friedman1, batch 64", task, friedman, trials or TRIALS[task])


if __name__ == "__main__":
    main()
