"""What the workers of a search do, in lines for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from adamtune.engines.distributed.base import WorkerStatus

MOST = 8
"""More workers are not shown one by one."""


def workers_summary(workers: Sequence[WorkerStatus]) -> str:
    """How many do what, how busy they are and how many were lost; empty without workers."""
    if not workers:
        return ""
    states = Counter(each.state for each in workers)
    doing = ", ".join(f"{states[name]} {name}" for name in ("training", "idle", "starting") if states[name])
    started = [each.utilisation for each in workers if each.state != "starting"]
    busy = f"{fmean(started):.0%} busy" if started else "waiting for the first to start"
    lost = sum(each.lost for each in workers)
    return f"Workers: {doing}; {busy}" + (f"; {lost} lost" if lost else "")


def worker_lines(workers: Sequence[WorkerStatus]) -> list[str]:
    """A line for each worker, the least busy first where there are many."""
    shown = workers if len(workers) <= MOST else sorted(workers, key=lambda each: each.utilisation)[:MOST]
    lines = [
        f"  worker {each.name}: {each.state}, {each.members} members, {each.evaluations} evaluations,"
        f" {each.utilisation:.0%} busy" + (f", {each.lost} lost" if each.lost else "")
        for each in shown
    ]
    return lines + ([f"  and {len(workers) - MOST} busier ones"] if len(workers) > MOST else [])
