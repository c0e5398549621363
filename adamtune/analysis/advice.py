"""What a study's numbers say about what to do next, each piece of advice with a code that stays the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import exp, log
from typing import Any, NamedTuple

from adamtune.analysis.ranking import Ranking
from adamtune.analysis.ties import nearest
from adamtune.catalog import TRAINING, Hyperparameter
from adamtune.config import Range, StudyConfig
from adamtune.errors import AdamtuneError
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.schedules.registry import SCHEDULES
from adamtune.storage.records import TrialRecord

EDGE = 0.05
"""A value is at the end of its range within this part of its width."""
MANY_DIVERGED = 0.5
"""The part of all trials from which on the space is said to be too wide."""
LONG_SEARCH = 20
"""Searches of fewer trials are not said to have gone on too long."""

FIRST_STEPS = ((10, 1, "the learning rate alone"), (25, 2, "the learning rate and beta1"))
"""Trials below which so many settings, and which, are enough (Google's tuning playbook)."""


class Advice(NamedTuple):
    """A piece of advice.

    Attributes:
        code: ``keep_baseline``, ``tie``, ``range_end``, ``no_effect``, ``many_diverged``, ``few_trials``
            or ``long_search``.
        text: the advice in words.
        data: its numbers, by name.
    """

    code: str
    text: str
    data: Mapping[str, Any]


def advise(ranking: Ranking) -> list[Advice]:
    """The advice that a study's numbers give; none for a study that adamtune cannot read."""
    if ranking.study.study is None or ranking.best is None:
        return []
    try:
        study = StudyConfig.from_canonical(ranking.study.study)
    except AdamtuneError:  # of another version
        return []
    return [
        *_keep_baseline(ranking),
        *_tie(study, ranking),
        *_range_ends(study, ranking),
        *_no_effects(ranking),
        *_many_diverged(ranking),
        *few_trials(study.trials, list(study.space.searched)),
        *_long_search(ranking),
    ]


def _keep_baseline(ranking: Ranking) -> Iterator[Advice]:
    if ranking.verdict and ranking.verdict.outcome in ("worse", "no_difference", "less_reliable"):
        text = "Keep the settings of the baseline, or search other settings: this space has nothing better."
        yield Advice("keep_baseline", text, {"outcome": ranking.verdict.outcome})


def _tie(study: StudyConfig, ranking: Ranking) -> Iterator[Advice]:
    tied = ranking.tied
    confirmation = ranking.verdict.confirmation if ranking.verdict else None
    if not tied or confirmation is None:
        return
    trials = [row.trial for row in ranking.rows if row.trial.number in tied]
    closest = nearest(trials, confirmation.baseline, study.space)
    named = ", ".join(map(str, tied[:3]))
    named = f"{named} and {len(tied) - 3} more" if len(tied) > 3 else " and ".join(map(str, tied))
    text = (
        f"Trials {named} cannot be told apart: choose by taste. Trial {closest} is nearest to the baseline."
    )
    yield Advice("tie", text, {"trials": list(tied), "nearest": closest})


def _range_ends(study: StudyConfig, ranking: Ranking) -> Iterator[Advice]:
    best = _candidate(ranking)
    for name, each in study.space.searched.items():
        if not isinstance(each, Range) or name not in best.params:
            continue
        value, place = best.params[name], each.place(best.params[name])
        if EDGE < place < 1 - EDGE:
            continue
        low, high = _moved(each, place > 0.5, _legal(name))
        if low >= each.low and high <= each.high:  # it ends where the legal values do
            continue
        end = "upper" if place > 0.5 else "lower"
        text = (
            f"{name} {value:.3g} is at the {end} end of its range: search"
            f" {{low: {low:g}, high: {high:g}{', log: true' if each.log else ''}}} next."
        )
        yield Advice("range_end", text, {"setting": name, "value": value, "low": low, "high": high})


def _candidate(ranking: Ranking) -> TrialRecord:
    """The trial that the verdict is of, else the best of the search."""
    side = ranking.verdict.candidate if ranking.verdict else None
    found = (row.trial for row in ranking.rows if side and row.trial.number == side.trial)
    assert ranking.best is not None
    return next(found, ranking.best)


def _moved(distribution: Range, up: bool, legal: Hyperparameter | None) -> tuple[float, float]:
    """The range moved by half its width towards an end, within the legal values, in two digits."""
    low, high = distribution.low, distribution.high
    if distribution.log:
        half = log(high / low) / 2
        ends = (low * exp(half), high * exp(half)) if up else (low * exp(-half), high * exp(-half))
    else:
        half = (high - low) / 2
        ends = (low + half, high + half) if up else (low - half, high - half)
    rounded = [round(each) if distribution.integer else float(f"{each:.1e}") for each in ends]
    # What lies beyond the legal values, or would turn the sign of a number, stays as it was.
    if legal is None:
        return (rounded[0], rounded[1]) if rounded[0] > 0 else (low, rounded[1] if up else high)
    return (
        rounded[0] if legal.allows(rounded[0]) else low,
        rounded[1] if legal.allows(rounded[1]) else high,
    )


def _legal(name: str) -> Hyperparameter | None:
    entries = (TRAINING, *OPTIMIZERS.values(), *SCHEDULES.values())
    return next((each.forms[name] for each in entries if name in each.forms), None)


def _no_effects(ranking: Ranking) -> Iterator[Advice]:
    for each in ranking.effects:
        if each.p is not None and each.p > 0.05 and each.interval is not None:
            low, high = each.interval
            text = (
                f"{each.setting} made no difference that 10 seeds show: put back to the baseline's,"
                f" {ranking.study.metric} changes by {low:.2g} to {high:.2g}."
            )
            yield Advice("no_effect", text, {"setting": each.setting, "interval": [low, high], "p": each.p})


def _many_diverged(ranking: Ranking) -> Iterator[Advice]:
    diverged, trials = ranking.counts["diverged"], len(ranking.rows)
    if diverged > MANY_DIVERGED * trials:
        finite = [row.trial.settings["lr"] for row in ranking.rows if row.rank and "lr" in row.trial.settings]
        hint = f" The highest lr that did not: {max(finite):.2g}." if finite else ""
        text = f"{diverged} of {trials} trials diverged: lower the upper end of lr.{hint}"
        yield Advice("many_diverged", text, {"diverged": diverged, "trials": trials})


def few_trials(trials: int, searched: Sequence[str]) -> Iterator[Advice]:
    """Yields advice where a search has few trials for its settings.

    Args:
        trials: the trials of the study.
        searched: the names of the searched settings.
    """
    for below, most, which in FIRST_STEPS:
        if trials < below and len(searched) > most:
            settings = len(searched)
            text = f"{trials} trials are few for {settings} settings: with less than {below}, search {which}."
            yield Advice("few_trials", text, {"trials": trials, "settings": settings, "below": below})
            return


def _long_search(ranking: Ranking) -> Iterator[Advice]:
    trials = len(ranking.rows)
    assert ranking.best is not None
    best = ranking.best.number
    if trials >= LONG_SEARCH and best < trials / 3:
        text = f"The best of {trials} trials was trial {best}: the later ones found nothing better."
        yield Advice("long_search", text, {"trials": trials, "best": best})
