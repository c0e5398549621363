"""The workers of a search, and the engine that a stage of it trains with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from adamtune.config import StudyConfig
from adamtune.engines.base import Engine
from adamtune.engines.distributed.engine import Distributed, is_state
from adamtune.engines.distributed.fleet import Fleet
from adamtune.engines.plan import Plan
from adamtune.search.progress import Tracker
from adamtune.tasks.entry import TaskEntry
from adamtune.tasks.program import ProgramEntry


def fleet_of(config: StudyConfig, state: Mapping[str, Any] | None) -> Fleet | None:
    """The workers of a study; None where the engine trains in this process, or starts functions itself.

    Args:
        config: the study file.
        state: the engine's state in the checkpoint from which the search goes on, if there is one.
    """
    entry, asked = config.task.entry, config.workers
    ray = None if config.cluster == "none" else config.cluster.partition(":")[2] or "auto"
    is_program = isinstance(entry, ProgramEntry)
    rounds = config.deterministic
    if rounds == "auto":
        rounds = ray is None and not is_program
    workers = None if asked == "auto" else asked
    if ray or ((workers or 1) > 1 and (rounds or not is_program)):
        return Fleet(workers, ray, _number(config.cpus), config.gpus, rounds, _code(entry))
    if state is not None and is_state(state):
        return Fleet(1, inline=True)
    return None


def training_device(config: StudyConfig) -> tuple[str, bool]:
    """The device of a new study, perhaps "auto", and whether this machine has to have it.

    The machine of a search whose workers are on a cluster needs no GPU.
    """
    if config.cluster == "none":
        return config.device, True
    return "cuda" if config.gpus else "cpu", False


def _number(cpus: float | str) -> float | None:
    return None if isinstance(cpus, str) else cpus


def _code(entry: TaskEntry | ProgramEntry) -> Path | None:
    """The folder of a user's code; None for a task of a package, which every machine has to have."""
    if isinstance(entry, ProgramEntry):
        return entry.folder.resolve()
    return None if entry.file is None else entry.file.parent


class Staff:
    """What a search trains with: an engine in this process, or workers.

    Args:
        config: the study file.
        tracker: is told of the workers; None if nobody is.
        state: the engine's state in the checkpoint, if there is one.

    Attributes:
        fleet: the workers; None where there are none.
    """

    def __init__(self, config: StudyConfig, tracker: Tracker | None, state: Mapping[str, Any] | None) -> None:
        self.fleet = fleet_of(config, state)
        self._config, self._tracker = config, tracker
        self._engine: Engine | None = None

    @contextmanager
    def gather(self) -> Iterator[None]:
        """While it is entered, workers can be started.

        Raises:
            UsageError: the cluster cannot be reached.
        """
        if self.fleet is None:
            yield
        else:
            with self.fleet.open() as self._pool:
                yield

    def plan(self, kept: Plan, least: int) -> Plan:
        """The plan of the search, or of each worker.

        Args:
            kept: the plan of the study.
            least: slots that members in training need.
        """
        seeds, population = self._config.search.seeds, self._config.population
        if self.fleet is None:
            return kept.for_trials(self._config.trials, seeds, population, least)
        return self.fleet.plan(self._pool.count, kept, self._config.trials, seeds, population)

    def confirmation_plan(self, kept: Plan, most: int) -> Plan:
        """The plan that trains at most so many members at once."""
        if self.fleet is None:
            return replace(kept, slots=min(kept.slots, most))
        own = self.fleet.plan(self._pool.count, kept, most, 1, "auto")
        return replace(own, slots=min(own.slots, -(-most // self._pool.count)))

    def slots(self, plan: Plan) -> int:
        """Members in training at once, of all workers."""
        return plan.slots * (1 if self.fleet is None else self._pool.count)

    @contextmanager
    def start(self, plan: Plan, kept: Plan, folder: Path) -> Iterator[Engine]:
        """The engine of a stage, which ends its processes afterwards.

        Args:
            plan: what ``plan`` returned, perhaps with fewer slots.
            kept: the plan of the study.
            folder: the folder for logs and checkpoints of functions and commands.
        """
        timeout = self._config.search.trial_timeout
        if self.fleet is None:
            started: Any = plan.start(folder, timeout)
        else:
            started = self.fleet.start(self._pool, plan, folder, timeout, kept)
        with started as self._engine:
            yield self._engine

    def report(self) -> None:
        """Tells the tracker what the workers do."""
        if isinstance(self._engine, Distributed) and not (self.fleet and self.fleet.inline):
            self._tracker.workers = tuple(self._engine.statuses())
            for line in self._engine.events():
                self._tracker.note(line)
