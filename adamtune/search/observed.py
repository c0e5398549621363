"""The study as samplers see it."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

BEST = 25
"""TPE takes at most so many trials for good."""
SHOWN = 250
"""Finished trials that TPE learns from: a suggestion's cost stays that of so many."""


class Bounded(Study):
    """At most ``SHOWN`` finished trials, and all that are running: for TPE.

    TPE splits the trials into the best few and the others, and its cost grows with the others, though
    it only wants their density. So it sees the best ones, and the others evenly thinned out.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._open: list[int] = []
        self._finished: list[FrozenTrial] = []
        self._shown: list[FrozenTrial] = []

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        every = super()._get_trials(deepcopy, None, use_cache)
        # Only what was open or is new is looked at: a call costs the same however many are finished.
        self._open += range(len(self._finished) + len(self._open), len(every))
        ended = [number for number in self._open if every[number].state.is_finished()]
        if ended:
            self._open = [number for number in self._open if not every[number].state.is_finished()]
            self._finished += [every[number] for number in ended]
            self._shown = thinned(self._finished, self.direction)
        shown = self._shown + [every[number] for number in self._open]
        return [each for each in shown if states is None or each.state in states]


def thinned(trials: Sequence[FrozenTrial], direction: StudyDirection) -> list[FrozenTrial]:
    """The best trials and every so many of the others, ``SHOWN`` or fewer, by number."""
    if len(trials) <= SHOWN:
        return sorted(trials, key=lambda trial: trial.number)
    sign = 1 if direction == StudyDirection.MINIMIZE else -1
    # Ties are settled by number: a resumed study reads its trials in another order than they ended in.
    ordered = sorted(trials, key=lambda trial: (_merit(trial, sign), trial.number))
    others = sorted(ordered[BEST:], key=lambda trial: trial.number)
    stride = -(-len(others) // (SHOWN - BEST))
    return sorted(ordered[:BEST] + others[::stride], key=lambda trial: trial.number)


def _merit(trial: FrozenTrial, sign: int) -> tuple[int, int, float]:
    """As TPE orders trials: complete ones by value, then pruned ones by how far they came, then others."""
    if trial.state == TrialState.COMPLETE and trial.value is not None:
        return 0, 0, sign * trial.value
    if trial.state == TrialState.PRUNED and trial.intermediate_values:
        step, value = max(trial.intermediate_values.items())
        return 1, -step, sign * value
    return 2, 0, 0.0


class Steered(Study):
    """A diverged trial is a complete one as bad as the worst: for GP and CMA-ES.

    Diverged trials have no value, and those samplers look at complete trials alone, so they would
    suggest such settings again and again.
    """

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        trials = super()._get_trials(deepcopy, None, use_cache)
        values = [
            each.value for each in trials if each.state == TrialState.COMPLETE and each.value is not None
        ]
        if values:
            worst = max(values) if self.direction == StudyDirection.MINIMIZE else min(values)
            trials = [
                _as_bad_as(worst, each) if "diverged_at" in each.user_attrs else each for each in trials
            ]
        return [each for each in trials if states is None or each.state in states]


def _as_bad_as(value: float, trial: FrozenTrial) -> FrozenTrial:
    return FrozenTrial(
        number=trial.number,
        trial_id=trial._trial_id,
        state=TrialState.COMPLETE,
        value=value,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs=trial.user_attrs,
        system_attrs=trial.system_attrs,
        intermediate_values=trial.intermediate_values,
    )


VIEWS: dict[str, type[Study]] = {"tpe": Bounded, "gp": Steered, "cmaes": Steered}
"""What a sampler is shown of the study, by its name; the study itself if it is not here."""
