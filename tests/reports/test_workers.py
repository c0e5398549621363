"""What a search says of its workers."""

from __future__ import annotations

from dataclasses import replace

from adamtune.engines.distributed.base import WorkerStatus
from adamtune.reports.workers import worker_lines, workers_summary

BUSY = WorkerStatus("0 node-a", "training", 12, 340, 0.97, 1)
NEW = WorkerStatus("1", "starting", 0, 0, 0.0, 0)


def test_each_worker_has_a_line() -> None:
    assert workers_summary([]) == ""
    assert workers_summary([NEW]) == "Workers: 1 starting; waiting for the first to start"
    assert workers_summary([BUSY, NEW]) == "Workers: 1 training, 1 starting; 97% busy; 1 lost"
    assert worker_lines([BUSY, NEW]) == [
        "  worker 0 node-a: training, 12 members, 340 evaluations, 97% busy, 1 lost",
        "  worker 1: starting, 0 members, 0 evaluations, 0% busy",
    ]


def test_of_many_workers_the_least_busy_are_shown() -> None:
    many = [replace(BUSY, name=str(place), utilisation=1 - place / 100) for place in range(20)]
    lines = worker_lines(many)
    assert len(lines) == 9
    assert "worker 19" in lines[0]
    assert lines[-1] == "  and 12 busier ones"
