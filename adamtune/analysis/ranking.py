"""The ranking of a study's trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from adamtune.catalog import TRAINING
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.schedules.registry import SCHEDULES
from adamtune.storage.records import State, StudyRecord, TrialRecord, counted

if TYPE_CHECKING:
    from adamtune.analysis.ablations import Effect
    from adamtune.analysis.importance import Importance
    from adamtune.analysis.verdict import Verdict

_CATALOG = (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES))
# Optimizers share hyperparameters: each name is listed where it comes first.
ORDER = [
    name
    for choice, entries in _CATALOG
    for name in dict.fromkeys(
        [choice, *(each.name for entry in entries.values() for each in entry.hyperparameters)]
    )
] + list(TRAINING.forms)


BASELINE = -1
"""The number of the baseline among trials."""


class Row(NamedTuple):
    """A trial and its rank, from 1; None for a trial that is not complete."""

    rank: int | None
    trial: TrialRecord


@dataclass(frozen=True)
class Ranking:
    """The trials of a study in order.

    Attributes:
        study: the record of the study.
        counts: the number of trials in each state.
        rows: complete trials, the best first; then the others by number.
        searched: the searched settings, by the names that they are trained with.
    """

    study: StudyRecord
    counts: Mapping[State, int]
    rows: Sequence[Row]
    searched: tuple[str, ...]

    @property
    def best(self) -> TrialRecord | None:
        """The trial of rank 1."""
        return next((row.trial for row in self.rows[:1] if row.rank), None)

    @cached_property
    def verdict(self) -> Verdict | None:
        """Whether the best trial is better than the baseline; None for a study without a complete trial."""
        from adamtune.analysis.verdict import verdict  # imports NumPy

        return verdict(self.study)

    @cached_property
    def tied(self) -> tuple[int, ...]:
        """The numbers of the trials that cannot be told from the best; none where that is not known."""
        if self.study.study is None or self.best is None:
            return ()
        from adamtune.analysis.ties import tied_trials  # imports NumPy

        return tied_trials(self.study, self.verdict.confirmation if self.verdict else None)

    @cached_property
    def importance(self) -> list[Importance]:
        """How much of the order of the trials each searched setting explains; nothing with too few trials."""
        from adamtune.analysis.importance import importance  # imports NumPy

        return importance(*self._explained)

    @cached_property
    def by_importance(self) -> list[str]:
        """The searched settings that ``importance`` has, in its order."""
        from adamtune.analysis.importance import by_importance

        return by_importance(*self._explained)

    @property
    def _explained(self) -> tuple[list[dict[str, Any]], list[float]]:
        """The searched settings of the trials that ended, and their places in the order."""
        from adamtune.analysis.importance import standings

        trials = [each for each in self.study.trials if each.state in ("complete", "pruned", "diverged")]
        settings = [
            {name: value for name, value in each.settings.items() if name in self.searched} for each in trials
        ]
        return settings, standings(trials, self.study.direction)

    @property
    def effects(self) -> list[Effect]:
        """What putting back each setting of a better trial changes; none where this was not trained."""
        confirmation = self.verdict.confirmation if self.verdict else None
        return confirmation.effects if confirmation else []

    @property
    def baseline(self) -> Row | None:
        """The baseline as a trial without a number; None where it was not trained."""
        found = self.verdict.baseline if self.verdict else None
        if found is None or not found.values:
            return None
        finite = [each for each in found.values if isfinite(each)]
        state: State = "complete" if finite else "diverged"
        value = fmean(finite) if finite else None
        trial = TrialRecord(BASELINE, state, value, finite, found.settings, {}, {}, 0, 0.0, None, {})
        return Row(None, trial)

    @property
    def recommended(self) -> TrialRecord | None:
        """The trial whose settings to use: the best, unless the verdict names another or the baseline."""
        side = self.verdict.recommended if self.verdict else None
        if side is None:
            return self.best
        found = (row.trial for row in self.rows if row.trial.number == side.trial)
        return next(found, self.baseline.trial if self.baseline else self.best)


def rank(study: StudyRecord) -> Ranking:
    """Ranks the complete trials by value, and trials of equal value by number."""
    trials = sorted(study.trials, key=lambda each: each.number)
    complete = [each for each in trials if _is_ranked(each)]
    ranked = enumerate(sorted(complete, key=lambda each: each.merit(study.direction)), start=1)
    others = [Row(None, each) for each in trials if not _is_ranked(each)]
    return Ranking(
        study,
        counted(Counter(each.state for each in trials)),
        (*(Row(place, each) for place, each in ranked), *others),
        # Columns show what was trained, such as beta1, though one_minus_beta1 was searched.
        in_order(name.removeprefix("one_minus_") for each in trials for name in each.params),
    )


def _is_ranked(trial: TrialRecord) -> bool:
    return trial.state == "complete" and trial.value is not None


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """The distinct names of settings in the order of the catalogs; others (task settings) last, by name."""
    unique = sorted(set(names))
    return (*(name for name in ORDER if name in unique), *(name for name in unique if name not in ORDER))
