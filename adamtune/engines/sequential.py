"""The engine that trains one member after the other with ``torch.optim``.

It trains the models that cannot be trained in lockstep, and it is the reference that the population engine is
tested against.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from adamtune.engines.base import Evaluation, Member, Source
from adamtune.engines.training import Training
from adamtune.tasks.loaded import LoadedTask


class Sequential:
    """An ``Engine`` that trains each member in a loop of its own.

    Args:
        slots: members in training at once.
        device: where the members are trained.
        dtype: the precision of parameters and data; None leaves it to the model.
    """

    def __init__(
        self, slots: int = 1, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
    ) -> None:
        self.slots = slots
        self._device, self._dtype = torch.device(device), dtype
        self._sources: dict[LoadedTask, Source] = {}
        self._trainings: dict[Member, Training] = {}

    @property
    def members(self) -> list[Member]:
        """Its members, in order of admission."""
        return list(self._trainings)

    def admit(self, members: Sequence[Member]) -> None:
        """Puts members into free slots, at step 0. Raises ValueError if there are too few free slots."""
        if len(self._trainings) + len(members) > self.slots:
            raise ValueError(f"{len(members)} members for {self.slots - len(self._trainings)} free slots")
        for member in members:
            self._trainings[member] = Training(member, self._source(member.task))

    def advance(self, pause: Callable[[], bool] = lambda: False) -> list[Evaluation]:
        """Trains every member to its next evaluation; see ``Engine.advance``.

        The global generators are not put back, which takes as long as a step of a small model.
        """
        return self.evaluate() if self.train(pause) else []

    def train(self, pause: Callable[[], bool]) -> bool:
        """Trains every member to its next evaluation or to a pause; whether all have reached it."""
        complete = [training.train(pause) for training in self._trainings.values()]
        return all(complete)

    def evaluate(self) -> list[Evaluation]:
        """The evaluations of all members, which have reached them."""
        evaluations = [training.evaluate() for training in self._trainings.values()]
        self.release([each.member for each in evaluations if each.finished or each.diverged_at is not None])
        return evaluations

    def release(self, members: Sequence[Member]) -> None:
        """Frees the slots of members whose training ends here."""
        for member in members:
            del self._trainings[member]

    def state(self) -> dict[str, Any]:
        """Each member's step, losses, model and optimizer state, as copies on the CPU."""
        return {"members": [training.state() for training in self._trainings.values()]}

    def restore(self, members: Sequence[Member], state: Mapping[str, Any]) -> None:
        """Replaces all members by those of a state; see ``Engine.restore``."""
        self._trainings.clear()
        self.join(members, state)

    def join(self, members: Sequence[Member], state: Mapping[str, Any]) -> None:
        """Adds the members of a state, beyond the slots if need be; arguments as those of ``restore``."""
        for member, saved in zip(members, state["members"], strict=True):
            self._trainings[member] = Training(member, self._source(member.task))
            self._trainings[member].restore(saved)

    def _source(self, task: LoadedTask) -> Source:
        if task not in self._sources:
            self._sources[task] = Source(task, self._device, self._dtype)
        return self._sources[task]
