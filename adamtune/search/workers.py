"""The workers of a search, and the engine that a stage of it trains with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import inf
from pathlib import Path
from time import perf_counter
from typing import Any

from adamtune.config import StudyConfig
from adamtune.engines.base import Engine
from adamtune.engines.distributed.base import WorkerStatus
from adamtune.engines.distributed.engine import Distributed, is_state
from adamtune.engines.distributed.fleet import Fleet
from adamtune.engines.plan import Plan
from adamtune.engines.start import start
from adamtune.search.fleets import fleet_of
from adamtune.search.tracker import Tracker

WAIT_SECONDS = 30
"""After so long it is said what workers wait for that have not started."""
STATUS_SECONDS = 0.1
"""For so long what workers do is not asked again: of hundreds, it would take longer than a trial."""


class Staff:
    """What a search trains with: an engine in this process, or workers.

    Args:
        config: the study file.
        state: the engine's state in the checkpoint, if there is one.

    Attributes:
        fleet: the workers; None where there are none.
    """

    def __init__(self, config: StudyConfig, state: Mapping[str, Any] | None) -> None:
        self.fleet = fleet_of(config)
        if self.fleet is None and state is not None and is_state(state):
            self.fleet = Fleet(1, inline=True)
        self._config = config
        self._engine: Engine | None = None
        self._waits_since, self._has_told = inf, False
        self._statuses: tuple[WorkerStatus, ...] = ()

    @contextmanager
    def gather(self) -> Iterator[Staff]:
        """While it is entered, workers can be started. It gives the object itself.

        Raises:
            UsageError: the cluster cannot be reached.
        """
        if self.fleet is None:
            yield self
        else:
            with self.fleet.open() as self._pool:
                yield self

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
            started: Any = start(plan, folder, timeout)
        else:
            started = self.fleet.start(self._pool, plan, folder, timeout, kept)
        self._asked = -inf
        with started as self._engine:
            yield self._engine

    def statuses(self) -> tuple[WorkerStatus, ...]:
        """What each worker does, or did a moment ago; empty where there are none."""
        if not isinstance(self._engine, Distributed) or (self.fleet and self.fleet.inline):
            return ()
        if perf_counter() - self._asked > STATUS_SECONDS:
            self._statuses, self._asked = tuple(self._engine.statuses()), perf_counter()
        return self._statuses

    def events(self, statuses: Sequence[WorkerStatus]) -> list[str]:
        """What has happened to workers since the last call, a line each; also what they wait for."""
        found = self._engine.events() if isinstance(self._engine, Distributed) else []
        starting = sum(each.state == "starting" for each in statuses)
        if not starting:
            self._waits_since = inf
        elif self._waits_since == inf:
            self._waits_since = perf_counter()
        elif perf_counter() - self._waits_since > WAIT_SECONDS and not self._has_told:
            self._has_told = True
            if room := self._pool.room():
                which = f"{starting} of {len(statuses)} workers have not started"
                found.append(f"{which} for {WAIT_SECONDS} seconds: {room}. They start once there is room.")
        return found

    def report(self, tracker: Tracker) -> None:
        """Tells the tracker what the workers do."""
        tracker.workers = self.statuses()
        for line in self.events(tracker.workers):
            tracker.note(line)
