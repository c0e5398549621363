"""Pruners that compare a trial with all trials before it, at a cost that does not grow with their number.

They have the rules of Optuna's pruners, which read every trial of the study for each decision; the tests
compare the decisions.
"""

from __future__ import annotations

from binascii import crc32
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import ceil, floor, isnan, log

import numpy as np
from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from adamtune.search.ended import EndedTrials
from adamtune.storage.optuna_private import RUNG, all_trials, storage_of, trial_id

FEW = 16
"""So many values are put into their places one by one; with more, all are sorted again."""


class HalvingPruner(BasePruner):
    """Successive halving (Li et al., 2020): the best part of the trials that reach a rung goes on.

    Args:
        first: the step of the first rung; each rung is ``reduction`` times as far as the one before.
        reduction: one in so many trials goes on.
        budgets: how many trials each bracket gets, in proportion. The trials of bracket N have no rungs
            before rung N, and are compared with each other alone.
    """

    def __init__(self, first: int, reduction: int, budgets: Sequence[int] = (1,)) -> None:
        self._first, self._reduction, self._budgets = first, reduction, budgets
        self._ended = EndedTrials()
        self._values: defaultdict[tuple[int, str], list[float]] = defaultdict(list)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether the trial stops; its values at the rungs that it has come to are kept with it."""
        step = trial.last_step
        if step is None:
            return False
        value, bracket = trial.intermediate_values[step], self._bracket(study, trial)
        rung = sum(1 for _ in _rungs(trial))
        while step >= self._first * self._reduction ** (bracket + rung):
            if isnan(value):
                return True
            name = f"{RUNG}{rung}"
            storage_of(study).set_trial_system_attr(trial_id(trial), name, value)
            if not self._goes_on(study, trial, bracket, name):
                return True
            rung += 1
        return False

    def _goes_on(self, study: Study, trial: FrozenTrial, bracket: int, rung: str) -> bool:
        """Whether the trial is among the best that came to a rung."""
        self._read(study)
        value, ended = trial.intermediate_values[trial.last_step or 0], self._values[bracket, rung]
        running = [
            each.system_attrs[rung]
            for each in self._ended.open
            if rung in each.system_attrs
            and each.number != trial.number
            and self._bracket(study, each) == bracket
        ]
        if study.direction == StudyDirection.MAXIMIZE:
            better = len(ended) - bisect_right(ended, value) + sum(each > value for each in running)
        else:
            better = bisect_left(ended, value) + sum(each < value for each in running)
        # The best of the first few goes on: their results come too late to compare all of them.
        return bool(better < max(1, (len(ended) + len(running) + 1) // self._reduction))

    def _read(self, study: Study) -> None:
        found: defaultdict[tuple[int, str], list[float]] = defaultdict(list)
        for each in self._ended.new(all_trials(study)):
            for rung in _rungs(each):
                found[self._bracket(study, each), rung].append(each.system_attrs[rung])
        for key, values in found.items():
            _merge(self._values[key], values)

    def _bracket(self, study: Study, trial: FrozenTrial) -> int:
        """The number of a trial's bracket, as Optuna draws it."""
        place = crc32(f"{study.study_name}_{trial.number}".encode()) % sum(self._budgets)
        return int(np.searchsorted(np.cumsum(self._budgets), place, side="right"))


def _rungs(trial: FrozenTrial) -> Iterator[str]:
    """The names of the rungs that a trial has come to."""
    rung = 0
    while (name := f"{RUNG}{rung}") in trial.system_attrs:
        yield name
        rung += 1


def hyperband(first: int, last: int, reduction: int) -> HalvingPruner:
    """The pruner of Hyperband (Li et al., 2018), whose brackets begin at each rung in turn.

    Args:
        first: the step of the first rung.
        last: the steps of a training.
        reduction: as that of ``HalvingPruner``.
    """
    brackets = floor(log(last / first, reduction)) + 1
    return HalvingPruner(
        first, reduction, [ceil(brackets * reduction**s / (s + 1)) for s in reversed(range(brackets))]
    )


class MedianPruner(BasePruner):
    """Stops a trial whose best value is worse than the median of the complete trials at its step.

    Args:
        startup: the complete trials before it begins.
        warmup: the first step at which a trial is judged.
    """

    def __init__(self, startup: int, warmup: int) -> None:
        self._startup, self._warmup = startup, warmup
        self._ended, self._complete = EndedTrials(), 0
        self._values: defaultdict[int, list[float]] = defaultdict(list)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether the trial stops."""
        self._read(study)
        step = trial.last_step
        if self._complete < self._startup or step is None or step < self._warmup:
            return False
        values = [each for each in trial.intermediate_values.values() if not isnan(each)]
        if not values:
            return True
        others = self._values[step]
        if not others:
            return False
        # NumPy's median of all values is that of the one or two in the middle.
        half = (len(others) - 1) // 2
        middle = float(np.percentile(others[half : len(others) - half], 50))
        return max(values) < middle if study.direction == StudyDirection.MAXIMIZE else min(values) > middle

    def _read(self, study: Study) -> None:
        found: defaultdict[int, list[float]] = defaultdict(list)
        for each in self._ended.new(all_trials(study)):
            if each.state == TrialState.COMPLETE:
                self._complete += 1
                for step, value in each.intermediate_values.items():
                    if not isnan(value):
                        found[step].append(value)
        for step, values in found.items():
            _merge(self._values[step], values)


def _merge(ordered: list[float], new: list[float]) -> None:
    """Puts new values into their places."""
    if len(new) > FEW:
        ordered += new
        ordered.sort()
        return
    for each in new:
        insort(ordered, each)
