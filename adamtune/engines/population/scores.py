"""Scores the members of a group on the validation rows, some members at a time."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from adamtune.engines.base import Source
from adamtune.engines.population.capture import Capture
from adamtune.engines.population.gradients import capture_scores

TRAINING_BATCHES = 4
"""Members scored together have at most as many validation rows as this many batches of the whole group."""


class Scorer:
    """Captures of a task's scores, one for each number of members that are scored together.

    Args:
        source: the task and its validation rows.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._captures: dict[int, tuple[dict[str, Tensor], Capture]] = {}

    def score(self, parameters: Mapping[str, Tensor], members: int, width: int) -> dict[str, list[float]]:
        """Each member's scores, by name.

        Args:
            parameters: by name, ``[capacity, *shape]``; the first ``members`` rows are scored.
            members: members to score.
            width: rows of the group's steps. Members scored together are at most as many.
        """
        validation = len(self._source.validation[0])
        together = TRAINING_BATCHES * width * self._source.task.batch_size // validation
        together = max(1, min(together, width))
        own, capture = self._capture(parameters, together)
        found: dict[str, list[float]] = {}
        for first in range(0, members, together):
            count = min(together, members - first)
            for name, value in own.items():
                value[:count] = parameters[name][first : first + count]
            capture.replay()
            for name, scores in capture.outputs.items():
                found.setdefault(name, []).extend(scores[:count].tolist())
        return found

    def _capture(self, parameters: Mapping[str, Tensor], members: int) -> tuple[dict[str, Tensor], Capture]:
        """A capture for so many members, and the parameters ``[members, *shape]`` that it reads."""
        if members not in self._captures:
            own = {name: value[:members].clone() for name, value in parameters.items()}
            self._captures[members] = own, capture_scores(self._source.task, own, self._source.validation)
        return self._captures[members]
