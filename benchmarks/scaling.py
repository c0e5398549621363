"""What a member-step costs, by population and by model size, beside what the machine could do at best.

    python -m benchmarks.scaling                         # about 12 minutes on 2 cores
    python -m benchmarks.scaling mlp --populations 64 128 256

Training steps alone: a stretch is ten steps and its evaluation is next to nothing. The peak is that
of a large matrix product on all cores in the same run; the arithmetic of a step is that of its matrix
products and convolutions, forwards and backwards. Every population runs on one thread a core, as
`engine: auto` has it. adamtune/engines/choose.py is calibrated with these figures.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import replace
from math import inf
from time import perf_counter
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from adamtune.engines.population.engine import Population
from adamtune.engines.population.verification import working_set
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.pytree import map_rows
from adamtune.tasks.registry import TASKS
from benchmarks.command_line import add_tasks, parser
from benchmarks.steady import engine_rate, plain_rate
from benchmarks.tables import machine, table

POPULATIONS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
SIZES: dict[str, tuple[dict[str, Any], ...]] = {
    "mlp": tuple({"dataset": "diabetes", "hidden": [width, width]} for width in (32, 64, 128, 256, 512)),
    "cnn": tuple({"channels": channels} for channels in ([8, 16], [16, 32], [32, 64])),
    "transformer": tuple({"d_model": width} for width in (16, 32, 64, 128)),
}
STRETCH = 10
LARGEST, LONGEST = 8 * 2**30, 20.0
"""Populations whose steps write to more bytes, or whose stretch takes more seconds, are left out."""
EXPLANATION = """\
MiB: the working memory of a member's step. GFLOP/s: of the matrix product just before. bound: µs of
the step's arithmetic at that speed. plain: µs a step of plain torch in {processes} processes, evaluations
included. Then µs of wall time a member-step in populations of so many members. best: the population
that costs least, and the part of the peak that it reaches."""


def main() -> None:
    arguments = parse()
    cores = len(os.sched_getaffinity(0)) if arguments.device == "cpu" else 1
    print(f"{machine()}; {arguments.device}\n", flush=True)
    for name in arguments.tasks or SIZES:
        rows = [row(name, settings, arguments, cores) for settings in SIZES[name][: arguments.sizes]]
        counts = [str(each) for each in arguments.populations]
        header = [name, "MiB", "GFLOP/s", "bound", "plain", *counts, "best", "of peak"]
        print(f"{table(header, rows)}\n", flush=True)
    print(EXPLANATION.format(processes=cores))


def parse() -> argparse.Namespace:
    options = parser("scaling", __doc__)
    add_tasks(options, SIZES)
    options.add_argument("--populations", nargs="+", type=int, default=POPULATIONS, metavar="MEMBERS")
    options.add_argument("--sizes", type=int, metavar="N", help="only the N smallest models of each task")
    options.add_argument("--device", default="cpu", help="cpu by default, or cuda")
    options.add_argument("--seconds", type=float, default=1.0, help="of each figure; 1 by default")
    return options.parse_args()


def matmul_peak(device: str, width: int = 2048, seconds: float = 1.0) -> float:
    """FLOP/s of a large matrix product in float32, at best."""
    a, b = torch.rand(2, width, width, device=device)
    out, best, end = torch.empty_like(a), inf, perf_counter() + seconds
    while perf_counter() < end:
        began = perf_counter()
        torch.mm(a, b, out=out)
        out[0, 0].item()  # waits for a GPU
        best = min(best, perf_counter() - began)
    return 2 * width**3 / best


def row(name: str, settings: dict[str, Any], arguments: argparse.Namespace, cores: int) -> tuple[object, ...]:
    """A row of the table: one model in every population."""
    task = TASKS[name].build(settings)
    memory, flops, peak = working_set(task), step_flops(task), matmul_peak(arguments.device)
    plain = 1e6 / plain_rate(name, settings, cores, arguments.seconds, arguments.device)
    costs = list(population_costs(task, memory, arguments, cores))
    best = min((cost, members) for cost, members in zip(costs, arguments.populations, strict=True) if cost)
    bound = 1e6 * flops / peak
    label = ", ".join(f"{key} {value}" for key, value in settings.items())
    return label, memory / 2**20, round(peak / 1e9), bound, plain, *costs, best[1], f"{bound / best[0]:.0%}"


def population_costs(
    task: LoadedTask, memory: int, arguments: argparse.Namespace, cores: int
) -> Iterator[float | None]:
    """µs of wall time a member-step in each population; None where it is left out."""
    of_stretch, least = stretch(task), 0.0
    for members in arguments.populations:
        if members * memory > LARGEST or members * least * STRETCH / 1e6 > LONGEST:
            yield None
            continue
        engine = Population(members, cores, arguments.device)
        cost = 1e6 / engine_rate(engine, of_stretch, arguments.seconds)
        least = min(cost, least or cost)
        yield cost


def step_flops(task: LoadedTask) -> int:
    """Floating-point operations of the matrix products of one training step of one member."""
    batch = tuple(rows[: task.batch_size] for rows in task.train)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        task.loss(task.build(), batch).backward()
    return int(counter.get_total_flops())


def stretch(task: LoadedTask) -> LoadedTask:
    """The task evaluated every few steps, on two rows: so the steps alone are measured."""
    few = map_rows(lambda each: each[:2], task.validation)  # one row has no variance
    return replace(task, steps=task.steps // STRETCH * STRETCH, evaluate_every=STRETCH, validation=few)


if __name__ == "__main__":
    main()
