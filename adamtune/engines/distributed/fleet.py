"""The workers that a study asks for, and the engine that gives them its trials. Torch-free to import."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from adamtune.engines.distributed.base import Pool
from adamtune.engines.plan import Plan, cores

if TYPE_CHECKING:
    from adamtune.engines.distributed.engine import Distributed

INLINE_SECONDS = 0.5
"""How long a worker in this process trains before the search is asked whether to stop."""


@dataclass(frozen=True)
class Fleet:
    """The workers that a study asks for.

    Attributes:
        workers: workers at once; None for as many as a cluster has resources for, one on one machine.
        ray: the address of a Ray cluster, "auto" or "local"; None for processes of this machine.
        cpus: cores of each worker; None for an equal part of this machine's, or one of a cluster's.
        gpus: GPUs of each worker, or a part of one.
        rounds: whether evaluations are taken in rounds, so that the order in which workers are done does not
            decide what a sampler knows.
        code: the folder of a user's task or program, which the nodes of a cluster get.
        inline: whether the worker is this process.
    """

    workers: int | None
    ray: str | None = None
    cpus: float | None = None
    gpus: float = 0.0
    rounds: bool = True
    code: Path | None = None
    inline: bool = False

    @property
    def threads(self) -> int:
        """The cores that a worker uses."""
        if self.inline:
            return cores()
        if self.cpus is None:
            return 1 if self.ray else max(1, cores() // (self.workers or 1))
        return max(1, int(self.cpus))

    @contextmanager
    def open(self) -> Iterator[Pool]:
        """The pool that starts the workers, which ends what it has started.

        Raises:
            UsageError: the cluster cannot be reached.
        """
        with closing(self._pool()) as pool:
            yield pool

    def _pool(self) -> Pool:
        if self.inline:
            from adamtune.engines.distributed.inline import InlinePool

            return InlinePool()
        if self.ray is not None:
            from adamtune.engines.distributed.ray_pool import RayPool

            return RayPool(self.ray, self.workers, self.cpus or 1, self.gpus, self.code)
        from adamtune.engines.distributed.local import LocalPool

        return LocalPool(self.workers or 1, self.threads, self.gpus)

    def plan(
        self, count: int | None, kept: Plan, trials: int, seeds: int, population: int | Literal["auto"]
    ) -> Plan:
        """The plan of each worker.

        Args:
            count: workers at once; None if it is not known.
            kept: the plan of the study.
            trials: the study's trials.
            seeds: members of a trial.
            population: members in training at once in each worker, or "auto".
        """
        own = kept if self.inline else kept.for_worker(self.threads, seeds, population)
        own = own.for_trials(ceil(trials / (count or 1)), seeds, population)
        own = replace(own, slots=max(seeds, own.slots // seeds * seeds))
        return own if self.inline else replace(own, why=self._why(count, own))

    def _why(self, count: int | None, plan: Plan) -> str:
        _, colon, reason = plan.why.partition(": ")
        return f"Training in {self._describe(count)}, {plan.slots} at a time{colon}{reason}"

    def _describe(self, count: int | None) -> str:
        """So many workers, where they are and with what, for people; None where a cluster decides."""
        cpus = self.cpus or self.threads
        each = f"{cpus:g} core{'s' if cpus > 1 else ''}"
        each += f" and {self.gpus:g} GPU{'s' if self.gpus > 1 else ''}" if self.gpus else ""
        if count is None:
            return f"as many workers as the Ray cluster {self.ray} has room for, with {each} each"
        workers = "1 worker" if count == 1 else f"{count} workers"
        return f"{workers}{f' of the Ray cluster {self.ray}' if self.ray else ''} with {each} each"

    @contextmanager
    def start(
        self, pool: Pool, plan: Plan, folder: Path, timeout: float | None, foreign: Plan
    ) -> Iterator[Distributed]:
        """The engine, which ends its workers afterwards.

        Args:
            pool: the workers.
            plan: the plan of each.
            folder: the folder for logs and checkpoints of functions and commands.
            timeout: the seconds that one of these may take; None for no limit.
            foreign: the plan of an engine without workers, whose state ``restore`` may get.
        """
        from adamtune.engines.distributed.engine import STATE_SECONDS, Distributed

        if plan.engine == "workers":
            folder.mkdir(parents=True, exist_ok=True)  # by which workers know whether they share it
        seconds = INLINE_SECONDS if self.inline else STATE_SECONDS
        engine = Distributed(pool, plan, folder, timeout, self.threads, self.rounds, seconds, foreign)
        with closing(engine):
            yield engine
