"""Which trials keep their curves: all, or so many of the best (``search.keep_curves``)."""

from __future__ import annotations

from bisect import insort

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from adamtune.search.ended import EndedTrials
from adamtune.storage.optuna_private import all_trials
from adamtune.storage.session import Session


class Curves:
    """The curves of a study that are kept whole: those of the best trials and of the trials in training.

    Where fewer trials are complete, the latest of the others keep theirs, too. Which trials these are depends
    on the trials that ended, and not on the order in which they did.

    Args:
        session: the study.
    """

    def __init__(self, session: Session) -> None:
        self._session, self._most = session, session.config.search.keep_curves
        self._sign = 1 if session.study.direction == StudyDirection.MINIMIZE else -1
        self._ended = EndedTrials()
        self._kept: list[FrozenTrial] = []

    def update(self) -> None:
        """Thins the curves of the trials that ended and are not, or no more, among those that are kept."""
        if self._most == "all":
            return
        for each in self._ended.new(all_trials(self._session.study)):
            insort(self._kept, each, key=self._place)
            if len(self._kept) > self._most:
                self._session.thin(self._kept.pop())

    def _place(self, trial: FrozenTrial) -> tuple[int, float, int]:
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            return 0, self._sign * trial.value, trial.number
        return 1, 0.0, -trial.number
