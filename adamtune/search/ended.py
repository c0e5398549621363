"""What is new among the trials of a study, at a cost that does not grow with the study."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.trial import FrozenTrial


class EndedTrials:
    """The trials of a study that ended since they were last asked for, and those that have not ended.

    An ended trial changes no more, so each is read once.

    Attributes:
        open: the trials that have not ended, by number.
    """

    def __init__(self) -> None:
        self._seen = 0
        self._open: list[int] = []
        self.open: list[FrozenTrial] = []

    def new(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """The trials that ended since the last call, by number.

        Args:
            trials: all trials of the study by number.
        """
        numbers = [*self._open, *range(self._seen, len(trials))]
        self._seen = len(trials)
        found = [trials[number] for number in numbers]
        self.open = [each for each in found if not each.state.is_finished()]
        self._open = [each.number for each in self.open]
        return [each for each in found if each.state.is_finished()]
