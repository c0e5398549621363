"""A study's trials, ranked: numbers, no drawing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from adamtune.optimizers.catalog import OPTIMIZERS, SCHEDULES
from adamtune.storage.records import State, StudyRecord, TrialRecord, counted

_CATALOG = (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES))
ORDER = [
    name
    for choice, entries in _CATALOG
    for name in dict.fromkeys(
        [choice, *(each.name for entry in entries.values() for each in entry.hyperparameters)]
    )
]


class Row(NamedTuple):
    """A trial and its rank, from 1; None for a trial that is not complete."""

    rank: int | None
    trial: TrialRecord


@dataclass(frozen=True)
class Ranking:
    """The trials of a study in order.

    Attributes:
        study: what was read from the storage.
        counts: how many trials there are of each state.
        rows: complete trials first, the best at the top; then the others by number.
        searched: the settings that were searched, under the names they are trained with.
    """

    study: StudyRecord
    counts: Mapping[State, int]
    rows: Sequence[Row]
    searched: tuple[str, ...]

    @property
    def best(self) -> TrialRecord | None:
        """The trial of rank 1."""
        return next((row.trial for row in self.rows[:1] if row.rank), None)


def rank(study: StudyRecord) -> Ranking:
    """Ranks the complete trials by value, equal ones by number."""
    sign = 1 if study.direction == "minimize" else -1
    complete, others = [], []

    def merit(trial: TrialRecord) -> tuple[float, int]:
        assert trial.value is not None
        return sign * trial.value, trial.number

    for trial in sorted(study.trials, key=lambda trial: trial.number):
        if trial.state == "complete" and trial.value is not None:
            complete.append(trial)
        else:
            others.append(Row(None, trial))
    return Ranking(
        study,
        counted(Counter(trial.state for trial in study.trials)),
        (*(Row(place, trial) for place, trial in enumerate(sorted(complete, key=merit), start=1)), *others),
        in_order(name.removeprefix("one_minus_") for trial in study.trials for name in trial.params),
    )


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """The names of settings, each once, as the catalogs order them; others (task settings) last, by name."""
    unique = sorted(set(names))
    return (*(name for name in ORDER if name in unique), *(name for name in unique if name not in ORDER))
