"""Workers: trials a minute beside Ray Tune, what a worker costs, and how many the loop keeps busy.

    python -m benchmarks.scale                           # about 8 minutes on 2 cores
    python -m benchmarks.scale --parts ray --ray-python /path/to/venv/bin/python

Ray Tune: `adamtune search` of the cnn with `workers: N` of one core each, and `benchmarks.plain_ray` with N
processes, one after the other in each round. Both may use N cores and no more; imports, storage and
suggestions count; the same space and sampler, nothing pruned. Left out where the interpreter has no Ray.

Overhead: trainings that are evaluated at each step, in this process and in one worker, in turns. The
difference of an evaluation is the worker's.

Simulated workers: see ``benchmarks.simulated``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import torch

from adamtune.engines.base import Engine
from adamtune.engines.distributed.engine import Distributed
from adamtune.engines.distributed.local import LocalPool
from adamtune.engines.plan import Plan
from adamtune.engines.start import build
from adamtune.tasks.pytree import map_rows
from adamtune.tasks.registry import TASKS
from benchmarks.command_line import add_rounds, parser
from benchmarks.processes import python
from benchmarks.simulated import print_table
from benchmarks.steady import members
from benchmarks.studies import study_file
from benchmarks.tables import machine, median_ratio, table

PARTS = ("ray", "overhead", "simulated")
TURN_SECONDS = 0.5


def main() -> None:
    arguments = parse()
    print(f"{machine()}; load {os.getloadavg()[0]:.1f}\n", flush=True)
    if "ray" in arguments.parts:
        print_ray(arguments)
    if "overhead" in arguments.parts:
        rows = [overhead(engine, arguments.rounds) for engine in ("sequential", "population")]
        header = ("engine", "in this process, µs", "in a worker, µs", "overhead, µs", "CPU here, µs")
        print(f"An evaluation\n\n{table(header, rows)}\n", flush=True)
    if "simulated" in arguments.parts:
        print("Workers that sleep for a second\n", flush=True)
        print_table(arguments.workers, 1.0, 10, "random", arguments.evaluations)


def parse() -> argparse.Namespace:
    options = parser("scale", __doc__)
    options.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="all by default")
    options.add_argument("--trials", type=int, default=64, help="of each search beside Ray; 64 by default")
    options.add_argument("--ray-python", default=sys.executable, help="an interpreter that has Ray")
    options.add_argument("--workers", type=int, nargs="+", default=[1, 16, 64, 256, 1000], help="simulated")
    options.add_argument("--evaluations", type=int, nargs="+", default=[1, 5], help="of a simulated training")
    add_rounds(options)
    return options.parse_args()


def print_ray(arguments: argparse.Namespace) -> None:
    command = [arguments.ray_python, "-c", "import ray"]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        print(f"{arguments.ray_python} has no Ray: not measured\n", flush=True)
        return
    rows = []
    for workers in (1, 2):
        pairs = [one_round(workers, arguments, seed) for seed in range(arguments.rounds)]
        ours, theirs = map(list, zip(*pairs, strict=True))
        rows.append((workers, median(ours), median(theirs), median_ratio(ours, theirs)))
    header = ("workers", "adamtune", "Ray Tune", "times Ray Tune")
    print(f"The cnn, trials a minute\n\n{table(header, rows)}\n", flush=True)


def one_round(workers: int, arguments: argparse.Namespace, seed: int) -> tuple[float, float]:
    """Trials a minute of adamtune and of Ray Tune."""
    search = {"trials": arguments.trials, "seed": seed, "sampler": "tpe", "confirm": "off"}
    with tempfile.TemporaryDirectory() as folder, few_cores(workers):
        file, storage = Path(folder, "study.yaml"), Path(folder, "adamtune.db")
        file.write_text(study_file("cnn", {}, search, workers=workers))
        ours = python("adamtune", "search", file, "--storage", storage)
        common = ("cnn", "--trials", arguments.trials, "--processes", workers, "--seed", seed)
        theirs = python("benchmarks.plain_ray", *common, interpreter=arguments.ray_python)
    print(f"{workers}: {ours.seconds:.1f} s, Ray Tune {theirs.seconds:.1f} s", flush=True)
    return 60 * arguments.trials / ours.seconds, 60 * arguments.trials / theirs.seconds


@contextmanager
def few_cores(count: int) -> Iterator[None]:
    """While it is entered, processes that start have so many cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def overhead(engine: str, rounds: int) -> tuple[str, float, float, float, float]:
    """The row of an engine: what an evaluation takes here and in a worker."""
    task = TASKS["mlp"].build({"hidden": (8,), "batch_size": 16})
    few = map_rows(lambda each: each[:2], task.validation)
    task = replace(task, steps=10**6, evaluate_every=1, validation=few)
    plan = Plan(engine, 1, 1, "cpu", "")  # type: ignore[arg-type]
    torch.set_num_threads(1)
    own, pool = build(plan), LocalPool(1, 1, 0.0)
    with closing(pool), closing(Distributed(pool, plan)) as worker:
        for each, member in zip((own, worker), members(task), strict=False):
            each.admit([member])
            evaluation_cost(each)
        turns = [(evaluation_cost(own), evaluation_cost(worker)) for _ in range(4 * rounds)]
    here, there = (median(turn[side][0] for turn in turns) for side in (0, 1))
    return engine, here, there, there - here, median(turn[1][1] for turn in turns)


def evaluation_cost(engine: Engine) -> tuple[float, float]:
    """Wall time of an evaluation, and what it takes of this process on a core, in µs."""
    began, cpu, count = perf_counter(), process_time(), 0
    while perf_counter() - began < TURN_SECONDS:
        count += len(engine.advance())
    return 1e6 * (perf_counter() - began) / count, 1e6 * (process_time() - cpu) / count


if __name__ == "__main__":
    main()
