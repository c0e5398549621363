"""Whether a search learns to keep away from settings whose training diverges.

    python -m benchmarks.divergence                      # about 1 minute on 2 cores
    python -m benchmarks.divergence --samplers tpe --seeds 2

The mlp on diabetes, trained with sgd: in a quarter of the (logarithmic) range of lr the loss
is soon not finite. That part is measured first, by a grid. Then five seeds of 60 trials, through
adamtune as a user runs it: how many of the last 30 trials diverged. Sampler `random` learns nothing.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median
from typing import Any, get_args

from adamtune.config import parse_study
from adamtune.config.keys import Sampler
from adamtune.storage.studies import read_study
from benchmarks.command_line import parser
from benchmarks.studies import NAME, measured_settings, study_file
from benchmarks.tables import machine, table

LOW, HIGH = 1e-3, 7.0
"""The loss stays finite up to an lr of about 0.6; from 0.9 on it never does."""
DECAY = {"low": 1e-6, "high": 1e-2, "log": True}
GRID = 60


def main() -> None:
    arguments = parse()
    print(machine(), flush=True)
    lrs = [LOW * (HIGH / LOW) ** (point / (GRID - 1)) for point in range(GRID)]
    grid = diverged({"lr": lrs}, {"trials": GRID, "sampler": "grid"}, arguments.epochs)
    bound = max((lr for lr, bad in zip(lrs, grid, strict=True) if not bad), default=LOW)
    print(
        f"sgd on the mlp: of {GRID} values of lr from {LOW:g} to {HIGH:g}, {percent(grid)} diverge;"
        f" the largest that does not is {bound:.2g}\n",
        flush=True,
    )
    rows = [row(sampler, arguments) for sampler in arguments.samplers]
    header = ["sampler", "median", "of each seed"]
    print(f"Diverged, of the last {arguments.last} of {arguments.trials} trials\n\n{table(header, rows)}")


def parse() -> argparse.Namespace:
    options = parser("divergence", __doc__)
    options.add_argument(
        "--samplers", nargs="+", choices=get_args(Sampler), default=["tpe", "gp", "cmaes", "random"]
    )
    options.add_argument("--seeds", type=int, default=5, help="5 by default")
    options.add_argument("--trials", type=int, default=60, help="60 by default")
    options.add_argument("--last", type=int, default=30, help="trials that count; the last 30 by default")
    options.add_argument("--epochs", type=int, default=30, help="of each training; 30 by default")
    return options.parse_args()


def row(sampler: str, arguments: argparse.Namespace) -> tuple[str, str, str]:
    space = {"lr": {"low": LOW, "high": HIGH, "log": True}, "weight_decay": DECAY}
    found = []
    for seed in range(arguments.seeds):
        search = {"trials": arguments.trials, "seed": seed, "sampler": sampler}
        found.append(diverged(space, search, arguments.epochs)[-arguments.last :])
    parts = [sum(each) / len(each) for each in found]
    return sampler, f"{median(parts):.0%}", ", ".join(percent(each) for each in found)


def diverged(space: dict[str, Any], search: dict[str, Any], epochs: int) -> list[bool]:
    """Runs a search; whether each of its trials diverged, by number."""
    from adamtune.search.run import run

    with tempfile.TemporaryDirectory() as folder:
        storage = str(Path(folder, "divergence.db"))
        text = study_file("mlp", measured_settings("mlp", {"epochs": epochs}), search, "sgd", space, storage)
        run(parse_study(text, "benchmarks.divergence"), lambda progress: None)
        trials = read_study(storage, NAME).trials
    return [each.state == "diverged" for each in sorted(trials, key=lambda trial: trial.number)]


def percent(flags: list[bool]) -> str:
    return f"{sum(flags) / len(flags):.0%}"


if __name__ == "__main__":
    main()
