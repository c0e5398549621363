"""What the search loop asks of an engine: train many members, a stretch at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from statistics import fmean
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from adamtune.tasks.base import Rows, Task
from adamtune.tasks.randomness import initial_parameters


@dataclass(frozen=True, eq=False)
class Member:
    """One training: one trial's settings with one training seed.

    Attributes:
        trial: the trial's number in its study.
        replicate: which of the trial's training seeds this is, from 0.
        seed: the study's seed; weights and batches derive from (seed, replicate, step) alone, so
            members of one replicate start alike and see the same batches (common random numbers).
        task: what to train. Members of one task object form a cohort (one set of shapes).
        optimizer: a name of the optimizer catalog.
        hyperparameters: every hyperparameter of the optimizer, by catalog name.
        schedule: a name of the schedule catalog.
        schedule_hyperparameters: every hyperparameter of the schedule, by catalog name.
    """

    trial: int
    replicate: int
    seed: int
    task: Task
    optimizer: str
    hyperparameters: Mapping[str, float]
    schedule: str
    schedule_hyperparameters: Mapping[str, float]


class Evaluation(NamedTuple):
    """What is known of a member at the end of a stretch.

    ``metrics`` holds the task's scores and ``train_loss`` (the mean over the stretch's batches).
    When ``diverged_at`` is a step, the loss was not finite there and ``metrics`` is empty.
    A member that finished or diverged has left the engine when this is returned.
    """

    member: Member
    step: int
    metrics: Mapping[str, float]
    diverged_at: int | None
    finished: bool
    seconds: float
    """Wall time of the stretch, shared evenly among the members trained in it."""


class Engine(Protocol):
    """Trains members side by side. Not safe for use from several threads."""

    slots: int
    """How many members can be in training at once."""

    def admit(self, members: Sequence[Member]) -> None:
        """Puts members into free slots, at step 0. Raises ValueError if there are too few."""

    def advance(self, pause: Callable[[], bool] = lambda: False) -> list[Evaluation]:
        """Trains every member to its next evaluation; one Evaluation each, in order of admission.

        Where ``pause`` becomes true before, it returns nothing, and the next call goes on from there as
        if there had been no pause. No member may be admitted in between.
        """

    def release(self, members: Sequence[Member]) -> None:
        """Frees the slots of members that are not to be trained further (pruned)."""

    def state(self) -> dict[str, Any]:
        """Tensors and plain values that ``restore`` continues from to the last bit."""

    def restore(self, members: Sequence[Member], state: Mapping[str, Any]) -> None:
        """Takes up training where ``state`` was taken; ``members`` in order of admission."""


class Source:
    """Rows to train on and to judge by, and the weights that replicates start from."""

    def __init__(self, task: Task, device: torch.device, dtype: torch.dtype) -> None:
        self.task = task
        self.device, self.dtype = device, dtype
        self.train = self._rows(task.train)
        self.validation = self._rows(task.validation)
        # Members of one replicate start alike, and there are few replicates.
        self.initial = lru_cache(maxsize=16)(self._initial)

    def _rows(self, rows: Rows) -> Rows:
        return tuple(self._placed(each) for each in rows)

    def _initial(self, seed: int, replicate: int) -> dict[str, Tensor]:
        return {
            name: self._placed(each) for name, each in initial_parameters(self.task, seed, replicate).items()
        }

    def _placed(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, self.dtype if tensor.is_floating_point() else None)

    def next_evaluation(self, step: int) -> int:
        """The step of the evaluation after ``step``; the last step once that is taken."""
        every = self.task.evaluate_every
        return min(self.task.steps, (step // every + 1) * every)


def evaluation(
    member: Member, step: int, losses: Sequence[float], scores: Mapping[str, float], seconds: float
) -> Evaluation:
    """What is said of a member.

    Args:
        member: the member.
        step: optimizer steps taken.
        losses: the loss before each update since the last evaluation.
        scores: the task's scores after the last update.
        seconds: wall time since the last evaluation.
    """
    diverged = diverged_at(losses, list(scores.values()), step - len(losses))
    metrics = {**scores, "train_loss": fmean(losses)} if diverged is None else {}
    return Evaluation(member, step, metrics, diverged, step == member.task.steps, seconds)


def diverged_at(losses: Sequence[float], scores: Sequence[float], start: int) -> int | None:
    """The first step whose loss was not finite, or the last one if the scores after it are not.

    Args:
        losses: the loss before each update since step ``start``.
        scores: the scores after the last one.
    """
    steps = (step for step, loss in enumerate(losses, start + 1) if not isfinite(loss))
    return next(steps, None if all(map(isfinite, scores)) else start + len(losses))
