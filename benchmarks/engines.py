"""The cost of a member's step in lockstep and side by side, by model: what `engine: auto` chooses by.

    python -m benchmarks.engines                         # about three minutes
    python -m benchmarks.engines "mlp 512" LSTM

Training steps alone, in turns in one process; processor time counts, so that other load on the machine
matters little. Lockstep has the plan's threads and members. Alone is the sequential engine with one thread,
which is what each process trains side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from statistics import median
from time import perf_counter, process_time
from typing import Any

import torch

from adamtune.engines.base import Engine
from adamtune.engines.plan import lockstep_plan
from adamtune.engines.population.engine import Population
from adamtune.engines.population.verification import working_set
from adamtune.engines.sequential import Sequential
from adamtune.tasks.loaded import LoadedTask, load
from adamtune.tasks.pytree import map_rows
from adamtune.tasks.registry import TASKS
from benchmarks.command_line import parser
from benchmarks.scaling import step_flops
from benchmarks.steady import members
from benchmarks.tables import machine, table
from benchmarks.zoo_models import MODELS, Zoo

STRETCH = 5
HEADER = (
    "model",
    "weights",
    "MiB",
    "MFLOP",
    "members",
    "lockstep, µs",
    "side by side, µs",
    "ratio",
    "spread",
)


def _own(name: str, **settings: Any) -> Callable[[], LoadedTask]:
    return lambda: TASKS[name].build(settings)


def _zoo(name: str) -> Callable[[], LoadedTask]:
    return lambda: load(Zoo(name=name, batch_size=MODELS[name].batch))


CASES = {
    **{
        f"mlp {width}, batch {batch}": _own("mlp", hidden=(width, width), batch_size=batch, samples=2000)
        for width, batch in (
            *((16, 64), (64, 64), (128, 64), (256, 64), (512, 64), (1024, 64), (2048, 64), (4096, 64)),
            *((256, 16), (512, 512), (1024, 512)),
        )
    },
    **{f"cnn {a}, {b}": _own("cnn", channels=(a, b)) for a, b in ((16, 32), (32, 64), (64, 128), (128, 256))},
    **{f"transformer {width}": _own("transformer", d_model=width) for width in (32, 64, 128, 256, 512)},
    **{
        name: _zoo(name)
        for name in ("LSTM", "LSTM, two layers, both ways", "ResNet, batch norm", "vision transformer")
    },
}


def main() -> None:
    options = parser("engines", __doc__)
    options.add_argument("cases", nargs="*", choices=[*CASES, []], metavar="MODEL", help="; ".join(CASES))
    options.add_argument("--seconds", type=float, default=1.0, help="of each figure; 1 by default")
    options.add_argument("--rounds", type=int, default=3, help="3 by default; the median counts")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    print(f"{machine()}\n", flush=True)
    rows = []
    for name in arguments.cases or CASES:
        rows.append((name, *figures(CASES[name](), arguments.seconds, arguments.rounds)))
        print(rows[-1], flush=True)
    print(f"\n{table(HEADER, rows)}")


def figures(task: LoadedTask, seconds: float, rounds: int) -> tuple[object, ...]:
    """What a step is, its cost in both engines, and the median and the range of the ratios."""
    few = map_rows(lambda each: each[:2], task.validation)
    task = replace(task, steps=task.steps // STRETCH * STRETCH, evaluate_every=STRETCH, validation=few)
    weights = sum(each.numel() for each in task.build().parameters())
    memory = working_set(task)
    plan = lockstep_plan("auto", "cpu", 1, memory)
    together, alone = costs(Population(plan.slots, plan.threads), task), costs(Sequential(), task)
    pairs = [(turn(together, seconds), turn(alone, seconds)) for _ in range(rounds)]
    ratios = sorted(other / own for own, other in pairs)
    flops = step_flops(task) / 1e6
    cost = [1e6 * median(each) for each in zip(*pairs, strict=True)]
    spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
    return weights, memory / 2**20, flops, plan.slots, *cost, median(ratios), spread


def costs(engine: Engine, task: LoadedTask) -> Iterator[float]:
    """Yields the seconds of processor time of a member-step, stretch after stretch, of a full engine."""
    waiting = members(task)
    engine.admit(list(islice(waiting, engine.slots)))
    while True:
        began = process_time()
        evaluations = engine.advance()
        yield (process_time() - began) / STRETCH / len(evaluations)
        engine.admit(list(islice(waiting, sum(each.ends for each in evaluations))))


def turn(stretches: Iterator[float], seconds: float) -> float:
    """The median cost of the stretches of some seconds; the first, which may record, is left out."""
    next(stretches)
    end, found = perf_counter() + seconds, [next(stretches)]
    while perf_counter() < end:
        found.append(next(stretches))
    return median(found)


if __name__ == "__main__":
    main()
