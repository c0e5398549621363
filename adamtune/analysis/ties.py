"""The trials that cannot be told from the best, and which of them is nearest to the baseline."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite, sqrt
from statistics import fmean, variance
from typing import Any

from adamtune.analysis.confirmation import Confirmation
from adamtune.analysis.finalists import ties
from adamtune.catalog import ONE_MINUS
from adamtune.config import Range, Space
from adamtune.storage.records import StudyRecord, TrialRecord


def tied_trials(study: StudyRecord, confirmation: Confirmation | None) -> tuple[int, ...]:
    """The numbers of the trials that none of the others beats, the best first; none where it is not known.

    Trials of several seeds are compared on these; of one seed, by the noise of the finalists and the winner
    on fresh seeds. Search trials share their seed, so this noise is rather too large: more trials are tied.
    """
    seeds = {each.number: each.seeds for each in study.trials if each.state == "complete"}
    if len({len(each) for each in seeds.values()}) != 1:
        return ()
    deviation, freedom = _noise(confirmation) if confirmation else (None, 0)
    if deviation is None and any(len(each) < 2 for each in seeds.values()):
        return ()
    found = ties(seeds, study.direction, deviation, freedom + 1)
    if confirmation is not None and confirmation.is_better:
        found = _better_than_baseline(study, confirmation, found)
    return found if len(found) > 1 else ()


def _better_than_baseline(
    study: StudyRecord, confirmation: Confirmation, trials: tuple[int, ...]
) -> tuple[int, ...]:
    """The trials without those as bad as the baseline, which more seeds have told from the best."""
    sign = 1 if study.direction == "minimize" else -1
    values = filter(isfinite, confirmation.values("baseline", confirmation.metric))
    limit = sign * fmean(values)
    better = {each.number for each in study.trials if each.value is not None and sign * each.value < limit}
    return tuple(number for number in trials if number in better)


def _noise(confirmation: Confirmation) -> tuple[float | None, int]:
    """The standard deviation of the difference of two trainings, and its degrees of freedom."""
    roles = ["winner", *map(str, confirmation.finalists)]
    values = [list(filter(isfinite, confirmation.values(role, confirmation.metric))) for role in roles]
    several = [each for each in values if len(each) > 1]
    freedom = sum(len(each) - 1 for each in several)
    if not freedom:
        return None, 0
    pooled = sum(variance(each) * (len(each) - 1) for each in several) / freedom
    return sqrt(2 * pooled), freedom


def nearest(trials: list[TrialRecord], baseline: Mapping[str, Any], space: Space) -> int:
    """The number of the trial whose searched settings are nearest to those of the baseline.

    The distance of a number is the part of its range between the two, at most 1; of anything else 1.
    """

    def distance(trial: TrialRecord) -> float:
        total = 0.0
        for name, each in space.searched.items():
            own, other = (_value(name, settings) for settings in (trial.settings, baseline))
            if isinstance(each, Range) and own is not None and other is not None:
                total += min(1.0, abs(each.place(own) - each.place(other)))
            else:
                total += own != other
        return total

    return min(trials, key=lambda each: (distance(each), each.number)).number


def _value(name: str, settings: Mapping[str, Any]) -> Any:
    """A setting by the name that is searched."""
    if name.startswith(ONE_MINUS):
        value = settings.get(name.removeprefix(ONE_MINUS))
        return None if value is None else 1 - value
    return settings.get(name)
