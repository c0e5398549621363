"""Which engine trains a study, and how many members at once: from what is known before training.

Nothing is timed, because the same study file must give the same study. The figures come from
``benchmarks.scaling``; docs/performance.md has the tables.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

import torch

from adamtune.engines import batched
from adamtune.engines.population import Population
from adamtune.engines.protocol import Engine
from adamtune.engines.sequential import Sequential
from adamtune.engines.source import Source
from adamtune.engines.tape import Unrecordable
from adamtune.errors import UsageError
from adamtune.tasks.protocol import Task

CACHE = {"cpu": 32 * 2**20, "cuda": 4 * 2**30, "mps": 2**30}
"""Bytes of a group's working memory that a thread of a device computes fastest with."""
MOST = {"cpu": 128, "cuda": 1024, "mps": 256}
"""More members a group gain nothing, even if they are small."""
ROUNDS = 4
"""A population is at most this part of the study's trainings: suggestions must learn from results."""


@dataclass(frozen=True)
class Plan:
    """How a study is trained; JSON-safe through ``dataclasses.asdict``.

    Attributes:
        slots: members in training at once.
        threads: groups that train side by side.
        why: a line for people.
    """

    engine: Literal["population", "sequential"]
    slots: int
    threads: int
    device: str
    why: str

    def build(self) -> Engine:
        """The engine."""
        if self.engine == "sequential":
            return Sequential(self.slots, self.device)
        return Population(self.slots, self.threads, self.device)


def plan(
    task: Task, engine: str, population: int | Literal["auto"], device: str, trials: int, seeds: int
) -> Plan:
    """The plan for ``trials`` trials of ``seeds`` members each.

    Args:
        task: what is trained.
        engine: "auto", "population" or "sequential".
        population: members in training at once, or "auto".
        device: "auto", "cpu", "cuda" or "mps".

    Raises:
        UsageError: the device is not there, or the population engine is asked for a model that it
            cannot train.
    """
    device = _device(device)
    if engine == "sequential":
        return Plan("sequential", seeds, 1, device, f"sequential on {device}, as the study file says")
    try:
        memory = working_memory(task)
    except Unrecordable as error:
        if engine == "population":
            raise UsageError(f"engine: population cannot train this model: {error}; use auto") from error
        return Plan("sequential", seeds, 1, device, f"sequential on {device}: in lockstep, {error}")
    threads = cores() if device == "cpu" else 1
    if population == "auto":
        slots = _slots(memory, device, threads, trials, seeds)
        reason = f"one works in {memory / 2**20:.2g} MiB, and {trials * seeds} are to be done"
    else:
        slots, reason = max(population, seeds), "as the study file says"
    threads = min(threads, slots)
    side_by_side = f" on {threads} threads" if threads > 1 else ""
    why = f"{slots} trainings in lockstep{side_by_side} on {device}: {reason}"
    return Plan("population", slots, threads, device, why)


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def working_memory(task: Task) -> int:
    """Bytes that one member's training step writes to.

    Raises:
        Unrecordable: the model cannot be trained in lockstep.
    """
    source = Source(task, torch.device("cpu"), torch.float32)
    parameters = {name: value.unsqueeze(0) for name, value in source.initial(0, 0).items()}
    batch = tuple(rows[: task.batch_size].clone() for rows in source.train)
    return batched.gradients(task, parameters, batch, shared=True).memory


def _slots(memory: int, device: str, threads: int, trials: int, seeds: int) -> int:
    fitting = max(1, min(CACHE[device] // memory, MOST[device]))
    group: int = 2 ** (fitting.bit_length() - 1)
    wanted = max(threads, trials * seeds // ROUNDS)
    slots: int = min(group * threads, wanted)
    # A trial's replicates are trained together.
    return max(seeds, slots // seeds * seeds)


def _device(device: str) -> str:
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return "cuda" if there["cuda"] else "cpu"
    if not there[device]:
        raise UsageError(f"device: {device} is not available here; use auto or cpu")
    return device
