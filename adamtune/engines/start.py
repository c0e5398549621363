"""The engine of a plan, started and ended. Torch-free to import."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from adamtune.engines.plan import Plan, cores

if TYPE_CHECKING:
    from adamtune.engines.base import Engine


@contextmanager
def start(plan: Plan, folder: Path, timeout: float | None) -> Iterator[Engine]:
    """The engine of a plan, which ends its threads and processes afterwards.

    Args:
        plan: how members are trained.
        folder: the folder for logs and checkpoints of functions and commands.
        timeout: the seconds that one of these may take; None for no limit.
    """
    engine = _workers(plan, folder, timeout) if plan.engine == "workers" else build(plan)
    try:
        yield engine
    finally:
        if plan.engine != "sequential":
            engine.close()  # type: ignore[attr-defined]


def build(plan: Plan) -> Engine:
    """The engine of tasks that a plan describes."""
    if plan.engine == "side_by_side":
        from adamtune.engines.distributed.side_by_side import SideBySide

        return SideBySide(plan.slots, plan.threads)
    if plan.engine == "sequential":
        from adamtune.engines.sequential import Sequential

        return Sequential(plan.slots, plan.device)
    from adamtune.engines.population.engine import Population

    return Population(plan.slots, plan.threads, plan.device)


def _workers(plan: Plan, folder: Path, timeout: float | None) -> Engine:
    from adamtune.engines.workers.engine import Workers

    threads = max(1, cores() // plan.threads) if plan.threads > 1 else None
    return Workers(plan.slots, plan.threads, folder, timeout, threads)
