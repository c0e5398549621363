"""A task's tensors where an engine trains: on its device, in its precision."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from adamtune.tasks.batches import initial_parameters
from adamtune.tasks.protocol import Rows, Task


class Source:
    """Rows to train on and to judge by, and the weights that replicates start from."""

    def __init__(self, task: Task, device: torch.device, dtype: torch.dtype) -> None:
        self.task = task
        self._device, self._dtype = device, dtype
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
        return tensor.to(self._device, self._dtype if tensor.is_floating_point() else None)

    def next_evaluation(self, step: int) -> int:
        """The step of the evaluation after ``step``."""
        every = self.task.evaluate_every
        return min(self.task.steps, (step // every + 1) * every)


def diverged_at(losses: Sequence[float], scores: Sequence[float], start: int) -> int | None:
    """The first step of a stretch whose loss was not finite, or the last one if its scores are not.

    Args:
        losses: the loss before each update of the stretch.
        scores: the scores after it.
        start: the step before the stretch.
    """
    finite = torch.tensor(losses).isfinite()
    if not finite.all():
        return start + int(finite.logical_not().nonzero()[0]) + 1
    return None if torch.tensor(scores).isfinite().all() else start + len(losses)
