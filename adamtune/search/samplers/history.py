"""The trials that TPE learns from."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from math import inf, isnan
from operator import attrgetter

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

BEST = 25
"""At most so many trials are good."""
SHOWN = 250
"""Finished trials that TPE learns from: a suggestion's cost stays that of so many."""
NUMBER = attrgetter("number")


class Shown:
    """The best trials, every so many of the others, and all that are running.

    TPE wants the density of the others alone, so that they may be thinned out. To look again costs
    what has changed, however many are finished.

    Args:
        direction: whether low or high values are good.
    """

    def __init__(self, direction: StudyDirection) -> None:
        self._sign = 1 if direction == StudyDirection.MINIMIZE else -1
        self._seen = 0
        self._open: list[int] = []
        self._best: list[FrozenTrial] = []
        self._others: list[FrozenTrial] = []
        self.running: list[FrozenTrial] = []

    def look(self, trials: Sequence[FrozenTrial]) -> bool:
        """Takes up what is new among all trials of the study, by number; whether any has ended."""
        self._open += range(self._seen, len(trials))
        self._seen = len(trials)
        ended = [trials[number] for number in self._open if trials[number].state.is_finished()]
        self._open = [number for number in self._open if not trials[number].state.is_finished()]
        self.running = [trials[number] for number in self._open]
        # A trial that failed says nothing about its settings.
        found = [each for each in ended if each.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        # Ties are settled by number: a resumed study reads its trials in another order than they ended in.
        ranked = sorted([*self._best, *found], key=lambda each: (self._merit(each), each.number))
        self._best = ranked[:BEST]
        for each in ranked[BEST:]:
            insort(self._others, each, key=NUMBER)
        return bool(found)

    def split(self) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
        """The good ones, a tenth of all but no more than are known, and the others; by number."""
        stride = max(1, -(-len(self._others) // (SHOWN - BEST)))
        others = self._others[::stride]
        good = min(BEST, -(-(len(self._best) + len(self._others)) // 10))
        return sorted(self._best[:good], key=NUMBER), sorted(self._best[good:] + others, key=NUMBER)

    def _merit(self, trial: FrozenTrial) -> tuple[int, int, float]:
        """Complete trials by value, then pruned ones by how far they came, then those without a value."""
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            return 0, 0, self._sign * trial.value
        if trial.intermediate_values:
            step, value = max(trial.intermediate_values.items())
            return 1, -step, inf if isnan(value) else self._sign * value
        return 2, 0, 0.0
