"""A task's tensors where an engine trains: on its device, in its precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import isfinite
from statistics import fmean

import torch
from torch import Tensor

from adamtune.engines.protocol import Evaluation, Member
from adamtune.tasks.batches import initial_parameters
from adamtune.tasks.protocol import Rows, Task


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
