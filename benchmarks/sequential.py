"""The cost of a step in the sequential engine beside a loop of plain torch, in turns in one process.

    python -m benchmarks.sequential                      # about a minute

Both sides train the same task in one thread and take turns, the steps to an evaluation each, so that other
load on the machine meets both, and processor time counts. A training that has ended is followed by another.
The plain loop is what a skilled user writes: shuffled rows by index, fused AdamW, a scheduler, losses that
are read at the evaluation.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from statistics import median
from time import perf_counter, process_time
from typing import Any

import torch

from adamtune.engines.sequential import Sequential
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.registry import TASKS
from benchmarks.command_line import add_tasks, parser
from benchmarks.plain_training import batches
from benchmarks.steady import members
from benchmarks.tables import machine, table

SETTINGS: dict[str, dict[str, Any]] = {"mlp": {"batch_size": 64}, "cnn": {}, "transformer": {}}


def main() -> None:
    options = parser("sequential", __doc__)
    add_tasks(options, SETTINGS)
    options.add_argument("--seconds", type=float, default=20.0, help="of each task; 20 by default")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    print(f"{machine()}; one thread\n", flush=True)
    rows = [(name, *compare(name, arguments.seconds)) for name in arguments.tasks or SETTINGS]
    print(table(("task", "turns", "sequential, µs a step", "plain, µs a step", "ratio"), rows))


def compare(name: str, seconds: float) -> tuple[object, ...]:
    """The number of turns, the medians of both sides, and the median of the ratios of neighbouring turns."""
    task = TASKS[name].build(SETTINGS[name])
    ours: list[float] = []
    theirs: list[float] = []
    end = perf_counter() + seconds
    loop, engine, waiting = plain(task), Sequential(), members(task)
    engine.admit([next(waiting)])

    def turn() -> None:
        if any(each.ends for each in engine.advance()):
            engine.admit([next(waiting)])

    while perf_counter() < end or len(ours) < 3:
        ours.append(_microseconds(turn, task))
        theirs.append(_microseconds(lambda: next(loop), task))
    # The first turn loads what torch loads late. A turn is compared with those before and after it.
    between = [(before + after) / 2 for before, after in pairwise(theirs)]
    ratios = [own / other for own, other in zip(ours[1:], between, strict=True)]
    return len(ratios), median(ours[1:]), median(theirs[1:]), median(ratios)


def _microseconds(turn: Any, task: LoadedTask) -> float:
    """Processor time of each step of a turn, in µs."""
    began = process_time()
    turn()
    return 1e6 * (process_time() - began) / task.evaluate_every


def plain(task: LoadedTask) -> Iterator[float]:
    """Trainings, written out, one after the other; yields val_loss at every evaluation, without end."""
    while True:
        model = task.build()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, task.steps)
        losses = []
        for step, batch in enumerate(batches(task), 1):
            optimizer.zero_grad()
            loss = task.loss(model, batch)
            loss.backward()
            optimizer.step()
            scheduler.step()
            losses.append(loss.detach())
            if step % task.evaluate_every == 0 or step == task.steps:
                mean, losses = torch.stack(losses).mean().item(), []
                model.eval()
                with torch.no_grad():
                    value = float(task.scores(model, task.validation)["val_loss"])
                model.train()
                yield value + 0 * mean


if __name__ == "__main__":
    main()
