"""The history of a study, as TPE learns from it."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Sequence
from math import inf, isnan
from operator import attrgetter

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from adamtune.search.ended import EndedTrials

# As in Optuna. docs/performance.md has what other numbers gave.
GOOD = 25
"""The most trials that count as good."""
LEARNED = 250
"""The most finished trials that TPE learns from, which bounds the cost of a suggestion."""
NUMBER = attrgetter("number")


def has_failed(trial: FrozenTrial) -> bool:
    """Whether a function or command has failed with these settings.

    A trial that was given up for another reason says nothing about its settings.
    """
    return "failure" in trial.user_attrs


class TrialHistory:
    """The best trials, an even sample of the others, and all that are running.

    TPE estimates only the density of the others, so a sample of them is enough. The cost of an update
    depends on what has changed, not on how many trials have ended.

    Args:
        direction: whether low or high values are good.
        steps: the optimizer steps of a trial's full training.
    """

    def __init__(self, direction: StudyDirection, steps: Callable[[FrozenTrial], int]) -> None:
        self._steps = steps
        self._sign = 1 if direction == StudyDirection.MINIMIZE else -1
        self._ended = EndedTrials()
        self._best: list[FrozenTrial] = []
        self._others: list[FrozenTrial] = []

    @property
    def running(self) -> Sequence[FrozenTrial]:
        """The trials that have not ended, by number."""
        return self._ended.open

    def update(self, trials: Sequence[FrozenTrial]) -> bool:
        """Reads what is new among all trials of the study.

        Args:
            trials: the trials by number.

        Returns:
            Whether a trial has ended that TPE learns from.
        """
        ended = self._ended.new(trials)
        found = [each for each in ended if each.state != TrialState.FAIL or has_failed(each)]
        # Ties are settled by number: a resumed study reads its trials in another order than they ended in.
        ranked = sorted([*self._best, *found], key=lambda each: (self._merit(each), each.number))
        self._best = ranked[:GOOD]
        # By number: of many, as those of a resumed study, each is then put at the end.
        for each in sorted(ranked[GOOD:], key=NUMBER):
            insort(self._others, each, key=NUMBER)
        return bool(found)

    def split(self) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
        """The good trials, a tenth of all but at most ``GOOD``, and the others; both by number."""
        # -(-a // b) is a / b rounded up.
        stride = max(1, -(-len(self._others) // (LEARNED - GOOD)))
        others = self._others[::stride]
        good = min(GOOD, -(-(len(self._best) + len(self._others)) // 10))
        return sorted(self._best[:good], key=NUMBER), sorted(self._best[good:] + others, key=NUMBER)

    def _merit(self, trial: FrozenTrial) -> tuple[int, float, float]:
        """Ranks complete trials by value, then pruned ones by the part of their training that is done.

        Those that diverged or failed come last.
        """
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            return 0, 0, self._sign * trial.value
        if trial.intermediate_values and trial.state != TrialState.FAIL:
            step, value = max(trial.intermediate_values.items())
            return 1, -step / self._steps(trial), inf if isnan(value) else self._sign * value
        return 2, 0, 0.0
