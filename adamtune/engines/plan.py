"""How a study is trained: which engine, where, and how many members at a time. Torch-free to import.

Nothing is timed, because the same study file must give the same study. The figures come from
``benchmarks.scaling``; docs/performance.md has the tables.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from adamtune.errors import UsageError
from adamtune.optimizers.registry import OPTIMIZERS

if TYPE_CHECKING:
    from adamtune.tasks.loaded import LoadedTask

CACHE = {"cpu": 16 * 2**20, "cuda": 4 * 2**30, "mps": 2**30}
"""Bytes of working memory that a thread of a device computes fastest with."""
MOST = {"cpu": 128, "cuda": 1024, "mps": 256}
"""More members a group gain nothing, even if they are small."""
ROUNDS = 4
"""A population is at most this part of the study's trainings: suggestions must learn from results."""


@dataclass(frozen=True)
class Plan:
    """How a study is trained; JSON-safe through ``dataclasses.asdict``.

    The plan of a study does not depend on how many trials it has; ``for_trials`` adapts it to that number.

    Attributes:
        slots: members in training at once, at most.
        threads: groups of members that train at the same time; processes, where members train in processes.
        why: the choice as a line for people.
    """

    engine: Literal["population", "side_by_side", "sequential", "workers"]
    slots: int
    threads: int
    device: str
    why: str

    def for_trials(self, trials: int, seeds: int, population: int | Literal["auto"], least: int = 0) -> Plan:
        """The plan with as few slots as ``trials`` trials use.

        Unused slots would take memory. Where the size of the population is not given, suggestions must
        learn from results, too: the population is a part of all trainings.

        Args:
            trials: the study's trials.
            seeds: members of a trial.
            population: members in training at once, or "auto".
            least: slots that members in training need, whatever the number of trials.
        """
        if self.engine not in ("population", "side_by_side"):
            return replace(self, slots=max(self.slots, least))
        slots = min(self.slots, trials * seeds)
        if population == "auto":
            wanted = max(self.threads, trials * seeds // ROUNDS)
            slots = max(seeds, min(slots, wanted) // seeds * seeds)
        slots = max(slots, least)
        fitted = replace(self, slots=slots)
        return replace(fitted, why=_why(fitted, self.why.partition(": ")[2]))

    def for_worker(self, cpus: int, seeds: int, population: int | Literal["auto"]) -> Plan:
        """The plan of each of several workers, which have a part of the cores that this plan is for.

        Args:
            cpus: the cores of a worker.
            seeds: members of a trial.
            population: members in training at once in each worker, or "auto".
        """
        if self.engine == "workers":
            return workers_plan(1, seeds)
        if self.engine == "sequential" or (self.engine == "side_by_side" and cpus == 1):
            reason = self.why.partition(": ")[2]
            return sequential_plan(seeds, self.device, reason and f": {reason}")
        each = (
            self.slots // self.threads * cpus if population == "auto" and self.device == "cpu" else self.slots
        )
        slots = max(seeds, each // seeds * seeds)
        fitted = replace(self, slots=slots, threads=min(cpus, slots) if self.device == "cpu" else 1)
        return replace(fitted, why=_why(fitted, self.why.partition(": ")[2]))


def make_plan(
    task: LoadedTask,
    engine: str,
    population: int | Literal["auto"],
    device: str,
    seeds: int,
    optimizers: Sequence[str] = (),
    step_bytes: int | None = None,
    is_here: bool = True,
) -> Plan:
    """The plan for trials of ``seeds`` members each.

    With ``engine: auto``, members train in lockstep where they can, which made no model slower that was
    measured (``benchmarks.engines``); else side by side on a CPU; else one after the other.

    Args:
        task: what is trained; where trials differ in it, the one with the largest working memory.
        engine: "auto", "population" or "sequential".
        population: members in training at once, or "auto".
        device: "auto", "cpu", "cuda" or "mps".
        optimizers: the optimizers that a trial may use.
        step_bytes: the working memory of one member's training step; measured if None.
        is_here: whether the device has to be one of this machine.

    Raises:
        UsageError: the device is not available, or the population engine is asked for and cannot train this.
    """
    if is_here:
        device = _device(device)
    if engine == "sequential":
        return sequential_plan(seeds, device)
    from adamtune.engines.population.capture import CannotCapture

    try:
        measured = _lockstep_memory(task, optimizers, device)
    except CannotCapture as error:
        if engine == "population":
            raise UsageError(f"engine: population cannot train this study: {error}; use auto") from error
        if device != "cpu" or cores() == 1:
            return sequential_plan(seeds, device, f": {error}")
        if reason := _why_not_moved(task):
            return sequential_plan(seeds, device, f": {error}; not in several processes, because {reason}")
        return side_by_side_plan(population, seeds, str(error))
    return lockstep_plan(population, device, seeds, measured if step_bytes is None else step_bytes)


def sequential_plan(seeds: int, device: str, reason: str = "") -> Plan:
    """The plan that trains one member after the other; ``reason`` ends its line for people."""
    return Plan("sequential", seeds, 1, device, f"Training one after the other on {_place(device)}{reason}")


def side_by_side_plan(population: int | Literal["auto"], seeds: int, reason: str) -> Plan:
    """The plan that trains members at the same time in processes; ``reason`` ends its line for people."""
    least = -(-cores() // seeds)
    # Members of that many trials fill the processes most evenly; of two such numbers the smaller one.
    trials = max(range(least, 2 * least + 1), key=lambda each: each * seeds / -(-each * seeds // cores()))
    slots = trials * seeds if population == "auto" else max(seeds, population)
    plan = Plan("side_by_side", slots, min(cores(), slots), "cpu", "")
    return replace(plan, why=_why(plan, reason))


def workers_plan(workers: int | Literal["auto"], seeds: int) -> Plan:
    """The plan that trains functions or commands in processes.

    Args:
        workers: processes at once; "auto" is one, because with more of them the order in which trials end
            decides what a sampler knows.
        seeds: members of a trial.

    Raises:
        UsageError: the system is not POSIX.
    """
    if os.name != "posix":
        raise UsageError(
            "functions and commands need the processes of a POSIX system, such as Linux or macOS"
        )
    processes = 1 if workers == "auto" else workers
    # One trial more where members do not fill the processes evenly.
    trials = -(-processes // seeds) + (seeds > 1 and processes > 1)
    how = "1 process" if processes == 1 else f"{processes} processes at once"
    return Plan("workers", trials * seeds, processes, "cpu", f"Training in {how}")


def lockstep_plan(population: int | Literal["auto"], device: str, seeds: int, step_bytes: int) -> Plan:
    """The plan that trains members in lockstep; arguments as ``make_plan``'s, the device being known."""
    fitting = fitting_slots(step_bytes, device) // seeds * seeds if population == "auto" else population
    slots = max(seeds, fitting)
    threads = min(cores(), slots) if device == "cpu" else 1
    plan = Plan("population", slots, threads, device, "")
    return replace(plan, why=_why(plan))


def expected_plan(
    engine: str, population: int | Literal["auto"], device: str, seeds: int, step_bytes: int
) -> Plan:
    """The plan that ``make_plan`` makes if lockstep can train the study, known without torch.

    Without torch, a GPU cannot be looked for: device "auto" is taken to be the CPU.
    """
    known = "cpu" if device == "auto" else device
    if engine == "sequential":
        return sequential_plan(seeds, known)
    return lockstep_plan(population, known, seeds, step_bytes)


def _why(plan: Plan, reason: str = "") -> str:
    """The line for people of a plan that trains members at the same time."""
    together = min(plan.slots, plan.threads)
    what = "processes" if plan.engine == "side_by_side" else "threads"
    how = f" ({together} {what})" if together > 1 else ""
    return f"Training {plan.slots} at a time on {_place(plan.device)}{how}" + (reason and f": {reason}")


def _place(device: str) -> str:
    return f"the {device.upper()}" if device in ("cpu", "mps") else "the GPU"


def _lockstep_memory(task: LoadedTask, optimizers: Sequence[str], device: str) -> int:
    """Bytes of one member's working set in lockstep. Raises CannotCapture where lockstep is impossible."""
    from adamtune.engines.population.capture import CannotCapture
    from adamtune.engines.population.verification import working_set

    for name in optimizers:
        if OPTIMIZERS[name].rule is None:
            raise CannotCapture(f"{name} has no rule for the elementwise pass")
    return working_set(task, device)


def _why_not_moved(task: LoadedTask) -> str:
    """Why processes of this system cannot get the task; empty if they can."""
    from adamtune.engines.distributed.transport import pack

    try:
        pack(task)
    except ValueError as error:
        return str(error)
    return "" if os.name == "posix" else "the system is not POSIX"


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def fitting_slots(step_bytes: int, device: str) -> int:
    """Members whose working sets fit the cache of every thread of the device.

    Args:
        step_bytes: the working memory of one member's training step.
        device: "cpu", "cuda" or "mps".
    """
    fitting = max(1, min(CACHE[device] // step_bytes, MOST[device]))
    group: int = 2 ** (fitting.bit_length() - 1)
    return group * (cores() if device == "cpu" else 1)


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
