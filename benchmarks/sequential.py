"""The cost of a step in the sequential engine beside a loop of plain torch, and of two trainings at once.

    python -m benchmarks.sequential                      # about three minutes

First: both sides train the same task in one thread and take turns, the steps to an evaluation each, so that
other load on the machine meets both, and processor time counts. A training that has ended is followed by
another. The plain loop is what a skilled user writes: shuffled rows by index, fused AdamW, a scheduler, and
losses that are read at the evaluation.

Second: two trainings one after the other, in two threads, and in two processes, in turns. Wall time counts,
so these figures need a machine that runs nothing else: Linux may give a session of processes a fixed share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import islice, pairwise
from statistics import median
from time import perf_counter, process_time
from typing import Any

import torch

from adamtune.engines.distributed.side_by_side import SideBySide
from adamtune.engines.sequential import Sequential
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.pytree import map_rows
from adamtune.tasks.registry import TASKS
from benchmarks.command_line import add_tasks, parser
from benchmarks.plain_training import batches
from benchmarks.steady import members
from benchmarks.tables import machine, table

SETTINGS: dict[str, dict[str, Any]] = {"mlp": {"batch_size": 64}, "cnn": {}, "transformer": {}}

LARGER: dict[str, tuple[str, dict[str, Any]]] = {
    "mlp": ("mlp", {"batch_size": 64}),
    "mlp, hidden 512, 512": ("mlp", {"batch_size": 64, "hidden": (512, 512)}),
    "mlp, hidden 2048, 2048": ("mlp", {"batch_size": 64, "hidden": (2048, 2048)}),
    "cnn": ("cnn", {}),
    "transformer": ("transformer", {}),
}


def main() -> None:
    options = parser("sequential", __doc__)
    add_tasks(options, SETTINGS)
    options.add_argument("--seconds", type=float, default=20.0, help="of each task; 20 by default")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    print(f"{machine()}; one thread\n", flush=True)
    rows = [(name, *compare(name, arguments.seconds)) for name in arguments.tasks or SETTINGS]
    print(table(("task", "turns", "sequential, µs a step", "plain, µs a step", "ratio"), rows), flush=True)
    pairs = [(label, *at_once(LARGER[label], arguments.seconds)) for label in LARGER]
    print("\nTwo trainings at once, times faster than one after the other:\n")
    print(table(("task", "turns", "threads", "processes"), pairs))


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


def at_once(model: tuple[str, dict[str, Any]], seconds: float) -> tuple[object, ...]:
    """The number of turns, and the median speedup of two threads and of two processes."""
    few = map_rows(lambda each: each[:2], (task := TASKS[model[0]].build(model[1])).validation)
    task = replace(task, steps=10**6, evaluate_every=10, validation=few)
    first, second, third, fourth, fifth, sixth = islice(members(task), 6)
    with closing(SideBySide(2, 2, start_seconds=0)) as processes, ThreadPoolExecutor(2) as pool:
        while not processes.moved:
            processes.advance()
        alone, threads = Sequential(2), [Sequential(), Sequential()]
        alone.admit([first, second])
        for engine, member in zip(threads, (third, fourth), strict=True):
            engine.admit([member])
        processes.admit([fifth, sixth])

        def in_threads() -> None:
            list(pool.map(lambda engine: engine.advance(), threads))

        ways: list[Callable[[], object]] = [alone.advance, in_threads, processes.advance]
        end, turns = perf_counter() + seconds, [[_wall(way) for way in ways]]
        while perf_counter() < end:
            turns.append([_wall(way) for way in ways])
    return len(turns) - 1, *(median(turn[0] / turn[way] for turn in turns[1:]) for way in (1, 2))


def _wall(way: Callable[[], object]) -> float:
    began = perf_counter()
    way()
    return perf_counter() - began


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
