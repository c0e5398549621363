"""Computes the metrics of a group's members on the validation rows, some members at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from adamtune.engines.base import evaluation_seed
from adamtune.engines.metrics import BATCHES, plain_metrics
from adamtune.engines.population.capture import Capture
from adamtune.engines.population.gradients import GLOBAL_STATE, BatchedTask
from adamtune.engines.population.lookahead import ActiveMember
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
        own, own_kept, capture = self._capture(parameters, kept, together)
        found: dict[str, list[float]] = {}
        for first in range(0, members, together):
            count = min(together, members - first)
            for target, source in ((own, parameters), (own_kept, kept)):
                for name, value in target.items():
                    value[:count] = source[name][first : first + count]
            capture.replay()
            for name, scores in capture.outputs.items():
                found.setdefault(name, []).extend(scores[:count].tolist())
        return found

    def _score_each(
        self, parameters: Mapping[str, Tensor], kept: Mapping[str, Tensor], active: Sequence[ActiveMember]
    ) -> dict[str, list[float]]:
        """The metrics of one member after the other, by the model itself."""
        found: dict[str, list[float]] = {}
        with GLOBAL_STATE:
            module = self._task.source.module(0, 0)
        for row, each in enumerate(active):
            for name, value in (*module.named_parameters(), *module.named_buffers()):
                value.data.copy_((parameters if name in parameters else kept)[name][row])
            for name, score in self._plain(module, each).items():
                found.setdefault(name, []).append(score)
        return found

    def _plain(self, module: nn.Module, each: ActiveMember) -> dict[str, float]:
        source = self._task.source
        if self._task.method.captured_metrics:  # they draw nothing
            return plain_metrics(source.task, module, source.validation, None)
        with GLOBAL_STATE:
            seed = evaluation_seed(each.member, each.step)
            return plain_metrics(source.task, module, source.validation, seed)

    def _capture(
        self, parameters: Mapping[str, Tensor], kept: Mapping[str, Tensor], members: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], Capture]:
        """A capture for so many members, and the tensors ``[members, *shape]`` that it reads."""
        if members not in self._captures:
            own, own_kept = (
                {name: value[:members].clone() for name, value in each.items()} for each in (parameters, kept)
            )
            capture = self._task.metrics(own, own_kept, self._task.source.validation)
            self._captures[members] = own, own_kept, capture
        return self._captures[members]
