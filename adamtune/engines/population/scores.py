"""Computes the metrics of a group's members on the validation rows, some members at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import nan

import torch
from torch import Tensor, nn

from adamtune.engines.base import evaluation_seed
from adamtune.engines.divergence import member_metrics
from adamtune.engines.metrics import BATCHES, holdout_metrics
from adamtune.engines.population.capture import CannotCapture, Capture
from adamtune.engines.population.draws import GLOBAL_STATE
from adamtune.engines.population.gradients import BatchedTask
from adamtune.engines.population.lookahead import ActiveMember
from adamtune.engines.population.row_by_row import replays
from adamtune.tasks.base import Rows
from adamtune.tasks.pytree import count_rows

TRAINING_BATCHES = 4
"""Members scored together have at most as many validation rows as this many batches of the whole group."""


class Scorer:
    """Captures of a task's metrics, one for each number of members that are scored together.

    Args:
        task: the task and its validation rows.
    """

    def __init__(self, task: BatchedTask) -> None:
        self._task, source = task, task.source
        self._validation = count_rows(source.validation)
        # While it is made, a capture holds every result in memory: too much, if the rows are many.
        few = self._validation <= BATCHES * source.task.batch_size
        self._captured = task.method.captured_metrics and few
        self._drawing = not task.method.captured_metrics  # those that were captured draw nothing
        self._module: nn.Module | None = None
        self._captures: dict[int, tuple[dict[str, Tensor], dict[str, Tensor], Capture]] = {}

    def score(
        self,
        parameters: Mapping[str, Tensor],
        kept: Mapping[str, Tensor],
        active: Sequence[ActiveMember],
        width: int,
    ) -> dict[str, list[float]]:
        """Each member's metrics, by name.

        Args:
            parameters: by name, ``[capacity, *shape]``; the first rows are scored.
            kept: buffers and frozen parameters by name, as the parameters.
            active: the members to score, in the order of their rows.
            width: rows of the group's steps. Members scored together are at most as many.
        """
        if not self._captured:
            return self._score_each(parameters, kept, active)
        members = len(active)
        together = TRAINING_BATCHES * width * self._task.source.task.batch_size // self._validation
        together = max(1, min(together, width))
        try:
            own, own_kept, capture = self._capture(parameters, kept, together, active[0])
        except CannotCapture:  # of so many rows: a batch was captured at planning
            self._captured, self._drawing = False, True
            return self._score_each(parameters, kept, active)
        found: dict[str, list[float]] = {}
        for first in range(0, members, together):
            count = min(together, members - first)
            for target, source in ((own, parameters), (own_kept, kept)):
                for name, value in target.items():
                    value[:count] = source[name][first : first + count]
            if not replays(capture.replay, (*own.values(), *own_kept.values()), count):
                return self._score_each(parameters, kept, active)
            for name, scores in capture.outputs.items():
                found.setdefault(name, []).extend(scores[:count].tolist())
        return found

    def _score_each(
        self, parameters: Mapping[str, Tensor], kept: Mapping[str, Tensor], active: Sequence[ActiveMember]
    ) -> dict[str, list[float]]:
        """The metrics of one member after the other, by the model itself; NaN where one has diverged."""
        rows = self._task.source.validation
        found = [
            self._plain(self._member(parameters, kept, row), each, rows) for row, each in enumerate(active)
        ]
        names = dict.fromkeys(name for each in found for name in each)
        return {name: [each.get(name, nan) for each in found] for name in names}

    def score_holdouts(
        self, parameters: Mapping[str, Tensor], kept: Mapping[str, Tensor], row: int, each: ActiveMember
    ) -> dict[str, float]:
        """The metrics of the holdouts of the member in a row; arguments as those of ``score``."""
        module = self._member(parameters, kept, row)
        return holdout_metrics(self._task.source.holdouts, partial(self._plain, module, each))

    def _member(self, parameters: Mapping[str, Tensor], kept: Mapping[str, Tensor], row: int) -> nn.Module:
        """The model with the weights of a row; the same object each time."""
        if self._module is None:
            with GLOBAL_STATE:
                self._module = self._task.source.module(0, 0)
        for name, value in (*self._module.named_parameters(), *self._module.named_buffers()):
            value.data.copy_((parameters if name in parameters else kept)[name][row])
        return self._module

    def _plain(self, module: nn.Module, each: ActiveMember, rows: Rows) -> dict[str, float]:
        task = self._task.source.task
        if not self._drawing:
            return member_metrics(task, module, rows, None)
        with GLOBAL_STATE:
            return member_metrics(task, module, rows, evaluation_seed(each.member, each.step))

    def _capture(
        self, parameters: Mapping[str, Tensor], kept: Mapping[str, Tensor], members: int, first: ActiveMember
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], Capture]:
        """A capture for so many members, and the tensors ``[members, *shape]`` that it reads.

        It is made with the starting weights of one, because others may have diverged.
        """
        if members not in self._captures:
            initial = self._task.source.initial(first.member.seed, first.member.replicate)
            own, own_kept = (
                {name: torch.stack([initial[name]] * members) for name in each} for each in (parameters, kept)
            )
            capture = self._task.metrics(own, own_kept, self._task.source.validation)
            self._captures[members] = own, own_kept, capture
        return self._captures[members]
