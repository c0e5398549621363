"""Training alone, once it runs: no imports, no storage, no sampler; evaluations included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import cycle, islice
from multiprocessing import get_context
from statistics import median
from threading import Barrier
from time import perf_counter
from typing import Any, Literal, NamedTuple, cast

import optuna
import torch
from torch import nn

from adamtune.engines.base import Engine, Member
from adamtune.engines.distributed.side_by_side import SideBySide
from adamtune.engines.plan import make_plan
from adamtune.engines.start import build
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.schedules.registry import SCHEDULES
from adamtune.tasks.base import Rows
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.registry import TASKS
from benchmarks.plain_training import suggest, train
from benchmarks.tables import median_ratio

HEADER = ("workload", "members", "adamtune, µs", "plain, µs", "times plain", "member-steps/s")
"""Of ``side_by_side``: wall time of a member-step."""


class Workload(NamedTuple):
    """A task, and the study that its population is planned for."""

    label: str
    task: str
    settings: Mapping[str, Any]
    trials: int
    population: int | Literal["auto"] = "auto"


def side_by_side(
    workload: Workload, processes: int, device: str, rounds: int, seconds: float
) -> tuple[object, ...]:
    """A row of figures, each the median of interleaved rounds.

    Args:
        workload: what is trained.
        processes: of the plain loop.
        device: "cpu" or "cuda", of both sides.
        rounds: how often each side is measured.
        seconds: how long at least, each time.
    """
    task = TASKS[workload.task].build(workload.settings)
    made = make_plan(task, "auto", workload.population, device, seeds=1)
    chosen = made.for_trials(workload.trials, 1, workload.population)
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(engine_rate(build(chosen), task, seconds))
        theirs.append(plain_rate(workload.task, workload.settings, processes, seconds, device))
    costs = 1e6 / median(ours), 1e6 / median(theirs)
    return workload.label, chosen.slots, *costs, median_ratio(ours, theirs), round(median(ours))


def draws(seed: int) -> Iterator[dict[str, Any]]:
    """Random settings from the space of the plain script, without end."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    while True:
        yield suggest(study.ask())


def members(task: LoadedTask) -> Iterator[Member]:
    """Members with random settings, without end; all of one replicate.

    The settings come round again, because drawing them anew would take time from the engine.
    """
    for number, settings in enumerate(cycle(list(islice(draws(seed=0), 128)))):
        adamw = {name: settings[name] for name in ("lr", "eps", "weight_decay")}
        betas = {name: 1 - settings[f"one_minus_{name}"] for name in ("beta1", "beta2")}
        schedule = settings["schedule"]
        warmup = {"warmup_fraction": settings["warmup_fraction"]}
        yield Member(
            trial=number,
            replicate=0,
            seed=0,
            task=task,
            optimizer="adamw",
            hyperparameters=OPTIMIZERS["adamw"].defaults | adamw | betas,
            schedule=schedule,
            schedule_hyperparameters=SCHEDULES[schedule].defaults | warmup,
        )


def engine_rate(engine: Engine, task: LoadedTask, seconds: float) -> float:
    """Member-steps a second of a full engine whose free slots are refilled at once.

    Args:
        engine: without members.
        task: what is trained.
        seconds: the measurement goes on for so long, and for one stretch at least.
    """
    waiting = members(task)
    steps_of = dict.fromkeys(islice(waiting, engine.slots), 0)
    engine.admit(list(steps_of))
    _advance(engine, steps_of, waiting)  # the first stretch records the computation
    while isinstance(engine, SideBySide) and not engine.moved:  # the processes are starting
        _advance(engine, steps_of, waiting)
    steps, began = 0, perf_counter()
    while True:
        steps += _advance(engine, steps_of, waiting)
        passed = perf_counter() - began
        if passed >= seconds:
            return steps / passed


def _advance(engine: Engine, steps_of: dict[Member, int], waiting: Iterator[Member]) -> int:
    """Trains a stretch and refills; the member-steps that it took."""
    steps = 0
    evaluations = engine.advance()
    for each in evaluations:
        steps += each.step - steps_of[each.member]
        steps_of[each.member] = each.step
    gone = [each.member for each in evaluations if each.finished or each.diverged_at is not None]
    for member in gone:
        del steps_of[member]
    new = list(islice(waiting, len(gone)))
    engine.admit(new)
    steps_of.update(dict.fromkeys(new, 0))
    return steps


def plain_rate(
    name: str, settings: Mapping[str, Any], processes: int, seconds: float, device: str = "cpu"
) -> float:
    """Steps a second of plain torch, summed over processes of one thread each that train at the same time.

    Args:
        name: a task of the catalog.
        settings: the task's.
        seconds: the measurement goes on for so long, and for one evaluation at least.
    """
    context = get_context("spawn")
    with ProcessPoolExecutor(
        processes, context, initializer=_meet_at, initargs=(context.Barrier(processes),)
    ) as pool:
        worker = partial(_plain_worker, name, settings, seconds, device)
        return sum(pool.map(worker, range(processes)))


def _meet_at(barrier: Barrier) -> None:
    global _ready  # noqa: PLW0603  # the one way for a barrier into a worker is its inheritance
    _ready = barrier


_ready = Barrier(1)


def _plain_worker(name: str, settings: Mapping[str, Any], seconds: float, device: str, worker: int) -> float:
    torch.set_num_threads(1)
    task = TASKS[name].build(settings)
    if device != "cpu":
        task = cast(LoadedTask, Placed(task, device))
    trainings = draws(seed=worker)
    next(train(task, next(trainings), worker))  # the first steps load what torch loads late
    _ready.wait()
    steps, began = 0, perf_counter()
    while True:
        before = 0
        for step, _ in train(task, next(trainings), worker):
            steps, before = steps + step - before, step
            passed = perf_counter() - began
            if passed >= seconds:
                return steps / passed


class Placed:
    """A task whose data and models lie on a device, for loops that know nothing of devices."""

    def __init__(self, task: LoadedTask, device: str) -> None:
        self._task, self._device = task, device
        self.train, self.validation = self._moved(task.train), self._moved(task.validation)
        self.steps, self.evaluate_every = task.steps, task.evaluate_every
        self.batch_size, self.data_hash = task.batch_size, task.data_hash
        self.loss, self.scores = task.loss, task.scores

    def build(self) -> nn.Module:
        """A new model."""
        return self._task.build().to(self._device)

    def _moved(self, rows: Rows) -> Rows:
        return tuple(each.to(self._device) for each in rows)
