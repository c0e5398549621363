"""The combinations of a space without real numbers: by number, and those that no trial has had."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from adamtune.config import Space
from adamtune.search.ended import EndedTrials
from adamtune.search.suggestions import grid
from adamtune.storage.optuna_private import all_trials

Params = dict[str, Any]
REDRAWS = 20
"""Random draws before the combinations are tried in order, in search of one that no trial has had."""


class Combinations:
    """The combinations of a space, and which of them trials have had.

    Args:
        space: the space.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._following, self._rest = 0, grid(space)
        self._ended = EndedTrials()
        self._had: set[frozenset[tuple[str, Any]]] = set()

    def numbered(self, number: int) -> Params:
        """The combination of a number; numbers that ascend take one pass over all combinations."""
        if number < self._following:
            self._following, self._rest = 0, grid(self._space)
        found = next(islice(self._rest, number - self._following, None))
        self._following = number + 1
        return found

    def untried(self, study: Study, trial: FrozenTrial, draw: Callable[[int], Params]) -> Params:
        """The first parameters drawn that no other trial has, but for trials that failed.

        Args:
            study: the study.
            trial: the trial that they are for.
            draw: gives the parameters of the trial's sampler for 0, and those of a random draw for each of
                the numbers from 1 to ``REDRAWS``.
        """
        ended = self._ended.new(all_trials(study))
        self._had |= {_key(each.params) for each in ended if each.state != TrialState.FAIL}
        open_ones = {_key(each.params) for each in self._ended.open if each.number != trial.number}
        draws: Iterator[Params] = map(draw, range(REDRAWS))
        # In a nearly exhausted space, random draws would hardly find the few combinations that are left.
        for each in draws:
            if _key(each) not in self._had and _key(each) not in open_ones:
                return each
        left = (each for each in grid(self._space) if _key(each) not in self._had | open_ones)
        return next(left, draw(REDRAWS))


def _key(params: Params) -> frozenset[tuple[str, Any]]:
    return frozenset(params.items())
