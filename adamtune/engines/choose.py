"""Which engine trains a study, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from adamtune.engines import batched, sizing
from adamtune.engines.population import Population
from adamtune.engines.protocol import Engine
from adamtune.engines.sequential import Sequential
from adamtune.engines.source import Source
from adamtune.engines.tape import Unrecordable
from adamtune.errors import UsageError
from adamtune.tasks.protocol import Task

SOME = 4
"""Members that are looked at together, because they share a layer's scratch memory."""


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

    def build(self, most: int | None = None) -> Engine:
        """The engine, with room for ``most`` members at most: room that nobody needs takes memory, too."""
        slots = self.slots if most is None else min(self.slots, most)
        if self.engine == "sequential":
            return Sequential(slots, self.device)
        return Population(slots, self.threads, self.device)


def plan(
    task: Task,
    engine: str,
    population: int | Literal["auto"],
    device: str,
    trials: int,
    seeds: int,
    step_bytes: int | None = None,
) -> Plan:
    """The plan for ``trials`` trials of ``seeds`` members each.

    Args:
        task: what is trained.
        engine: "auto", "population" or "sequential".
        population: members in training at once, or "auto".
        device: "auto", "cpu", "cuda" or "mps".
        step_bytes: what one member's training step works in; looked at if None.

    Raises:
        UsageError: the device is not there, or the population engine is asked for a model that it
            cannot train.
    """
    device = _device(device)
    if engine == "sequential":
        return Plan("sequential", seeds, 1, device, f"sequential on {device}, as the study file says")
    try:
        measured = working_memory(task)
    except Unrecordable as error:
        if engine == "population":
            raise UsageError(f"engine: population cannot train this model: {error}; use auto") from error
        return Plan("sequential", seeds, 1, device, f"sequential on {device}, not in lockstep: {error}")
    if population == "auto":
        bytes_ = measured if step_bytes is None else step_bytes
        slots, reason = sizing.slots(bytes_, device, trials, seeds), sizing.reason(bytes_, trials, seeds)
    else:
        slots, reason = max(population, seeds), "as the study file says"
    why = sizing.said(slots, device, reason)
    return Plan("population", slots, sizing.threads(slots, device), device, why)


def working_memory(task: Task) -> int:
    """Bytes that one member's training step writes to.

    Raises:
        Unrecordable: the model cannot be trained in lockstep.
    """
    source = Source(task, torch.device("cpu"), torch.float32)
    parameters = {name: torch.stack([value] * SOME) for name, value in source.initial(0, 0).items()}
    batch = tuple(rows[: task.batch_size].clone() for rows in source.train)
    batched.scores(task, parameters, source.validation)
    return batched.gradients(task, parameters, batch, shared=True).memory // SOME


def is_available(device: str) -> bool:
    """Whether this machine has it: "cpu", "cuda" or "mps"."""
    return {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}[device]


def _device(device: str) -> str:
    if device == "auto":
        return "cuda" if is_available("cuda") else "cpu"
    if not is_available(device):
        raise UsageError(f"device: {device} is not available here; use auto or cpu")
    return device
