"""How a study is trained: which engine, where, and how many members at a time. Torch-free to import.

Nothing is timed, because the same study file must give the same study. The figures come from
``benchmarks.scaling``; docs/performance.md has the tables.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from adamtune.errors import UsageError
from adamtune.optimizers.registry import OPTIMIZERS

if TYPE_CHECKING:
    from adamtune.engines.base import Engine
    from adamtune.tasks.base import Task

CACHE = {"cpu": 16 * 2**20, "cuda": 4 * 2**30, "mps": 2**30}
"""Bytes of working memory that a thread of a device computes fastest with."""
MOST = {"cpu": 128, "cuda": 1024, "mps": 256}
"""More members a group gain nothing, even if they are small."""
ROUNDS = 4
"""A population is at most this part of the study's trainings: suggestions must learn from results."""


@dataclass(frozen=True)
class Plan:
    """How a study is trained; JSON-safe through ``dataclasses.asdict``.

    Attributes:
        slots: members in training at once.
        threads: groups of members that train side by side.
        why: the choice as a line for people.
    """

    engine: Literal["population", "sequential"]
    slots: int
    threads: int
    device: str
    why: str

    def build(self, most: int | None = None) -> Engine:
        """The engine, with slots for ``most`` members at most: unused slots would take memory, too."""
        slots = self.slots if most is None else min(self.slots, most)
        if self.engine == "sequential":
            from adamtune.engines.sequential import Sequential

            return Sequential(slots, self.device)
        from adamtune.engines.population.engine import Population

        return Population(slots, self.threads, self.device)


def make_plan(
    task: Task,
    engine: str,
    population: int | Literal["auto"],
    device: str,
    trials: int,
    seeds: int,
    optimizers: Sequence[str] = (),
    step_bytes: int | None = None,
) -> Plan:
    """The plan for ``trials`` trials of ``seeds`` members each.

    Args:
        task: what is trained; where trials differ in it, the one with the largest working memory.
        engine: "auto", "population" or "sequential".
        population: members in training at once, or "auto".
        device: "auto", "cpu", "cuda" or "mps".
        optimizers: the optimizers that a trial may use.
        step_bytes: the working memory of one member's training step; measured if None.

    Raises:
        UsageError: the device is not available, or the population engine is asked for and cannot train this.
    """
    device = _device(device)
    if engine == "sequential":
        return Plan("sequential", seeds, 1, device, f"Training {_how(seeds, device, 'sequential')}")
    from adamtune.engines.population.capture import CannotCapture

    try:
        measured = _lockstep_memory(task, optimizers)
    except CannotCapture as error:
        if engine == "population":
            raise UsageError(f"engine: population cannot train this study: {error}; use auto") from error
        return Plan("sequential", seeds, 1, device, f"Training {_how(seeds, device, 'sequential')}: {error}")
    if population == "auto":
        slots = choose_slots(measured if step_bytes is None else step_bytes, device, trials, seeds)
    else:
        slots = max(population, seeds)
    why = f"Training {_how(slots, device, 'population')}"
    return Plan("population", slots, choose_threads(slots, device), device, why)


def describe(
    engine: str,
    population: int | Literal["auto"],
    device: str,
    trials: int,
    seeds: int,
    step_bytes: int,
) -> str:
    """What ``make_plan`` will choose, as far as it can be known without torch; arguments as there."""
    known = "cpu" if device == "auto" else device
    if engine == "sequential":
        return _how(seeds, known, "sequential")
    slots = choose_slots(step_bytes, known, trials, seeds) if population == "auto" else max(population, seeds)
    other = "; another number on a GPU, if there is one" if device == "auto" else ""
    return _how(slots, known, "population") + other


def _how(slots: int, device: str, engine: str) -> str:
    place = f"the {device.upper()}" if device in ("cpu", "mps") else "the GPU"
    if engine == "sequential":
        return f"one after the other on {place}"
    threads = choose_threads(slots, device)
    return f"{slots} at a time on {place}" + (f" ({threads} threads)" if threads > 1 else "")


def _lockstep_memory(task: Task, optimizers: Sequence[str]) -> int:
    """Bytes of one member's working set in lockstep. Raises CannotCapture where lockstep is impossible."""
    from adamtune.engines.population.capture import CannotCapture
    from adamtune.engines.population.gradients import working_set

    for name in optimizers:
        if OPTIMIZERS[name].rule is None:
            raise CannotCapture(f"{name} has no rule for the elementwise pass")
    return working_set(task)


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def choose_slots(step_bytes: int, device: str, trials: int, seeds: int) -> int:
    """Members in training at once.

    Args:
        step_bytes: the working memory of one member's training step.
        device: "cpu", "cuda" or "mps".
        trials: the study's trials.
        seeds: members of a trial; they are trained together.
    """
    threads = cores() if device == "cpu" else 1
    fitting = max(1, min(CACHE[device] // step_bytes, MOST[device]))
    group: int = 2 ** (fitting.bit_length() - 1)
    wanted = max(threads, trials * seeds // ROUNDS)
    return max(seeds, min(group * threads, wanted) // seeds * seeds)


def choose_threads(slots: int, device: str) -> int:
    """Groups of members that train side by side."""
    return min(cores(), slots) if device == "cpu" else 1


def is_available(device: str) -> bool:
    """Whether this machine has it: "cpu", "cuda" or "mps"."""
    import torch

    return {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}[device]


def _device(device: str) -> str:
    if device == "auto":
        return "cuda" if is_available("cuda") else "cpu"
    if not is_available(device):
        raise UsageError(f"device: {device} is not available here; use auto or cpu")
    return device
