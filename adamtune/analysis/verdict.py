"""The verdict of a study: whether its best trial is better than the baseline on fresh seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from statistics import fmean
from typing import Any

from adamtune.analysis.confirmation import PAIR, Confirmation
from adamtune.analysis.looks import FEW_TRAININGS
from adamtune.analysis.paired import LEVEL, interval
from adamtune.analysis.sentences import nothing_to_judge, sentence
from adamtune.storage.records import StudyRecord, TrialRecord

NAMES = {"default": "the default", "lr_only": "the default with a tuned lr"}
"""What baselines are called in a sentence; settings by hand are ``the baseline``."""


@dataclass(frozen=True)
class Side:
    """The candidate or the baseline.

    Attributes:
        trial: its number; None where no trial has its settings.
        settings: everything it was trained with.
        mean: of the judged metric, over the pairs of which both trainings finished.
        n: how many of these there are.
        values: the objective of each of its trainings on fresh seeds; NaN of one that did not finish.
    """

    trial: int | None
    settings: Mapping[str, Any]
    mean: float | None
    n: int
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What may be said of a study's best trial.

    Attributes:
        outcome: ``better``, ``worse``, ``no_difference``, ``less_reliable``, ``more_reliable`` or
            ``not_confirmed``.
        metric: the metric that was judged; of the test rows it begins with ``test_``.
        difference, interval: candidate minus baseline, in the metric's own units; at ``level``.
        detectable: the smallest difference that would have been found four times in five.
        sentence: the verdict in words.
        confirmation: the trainings that it comes from; None where there are none, or of other trials.
    """

    outcome: str
    metric: str
    sentence: str
    candidate: Side | None = None
    baseline: Side | None = None
    difference: float | None = None
    interval: tuple[float, float] | None = None
    level: float = LEVEL
    detectable: float | None = None
    confirmation: Confirmation | None = field(default=None, repr=False)

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """For each metric of the trainings, both means, the difference and its interval."""
        if self.confirmation is None:
            return {}
        found = {name: _compared(self.confirmation, name) for name in self.confirmation.metrics()}
        return {name.replace("/", "_"): each for name, each in found.items() if each}

    @property
    def recommended(self) -> Side | None:
        """The side whose settings to use: of equals the baseline, which asks for no change."""
        if self.outcome in ("better", "more_reliable"):
            return self.candidate
        return self.baseline if self.outcome in ("worse", "no_difference", "less_reliable") else None


def verdict(study: StudyRecord) -> Verdict | None:
    """The verdict of a study; None if it is another program's, or has no complete trial."""
    trials = {each.number: each for each in study.trials if each.state == "complete"}
    if study.study is None or not trials:
        return None
    if study.confirmation is None:
        return _not_confirmed(study, _why_not(study))
    confirmation = Confirmation.from_json(study.confirmation)
    winner, name = confirmation.winner, NAMES.get(str(confirmation.asked), "the baseline")
    done, most = confirmation.done, confirmation.most
    if confirmation.trials != len(trials):
        why = (
            f"Not confirmed: the last verdict was of {confirmation.trials} complete trials, and now there are"
            f" {len(trials)}. The next run of the search confirms them anew."
        )
        return _not_confirmed(study, why)
    if confirmation.missing_for_verdict():
        why = (
            f"Not confirmed yet: {done} of at most {most} trainings on fresh seeds are done. The same search"
            " continues."
        )
        return _not_confirmed(study, why)
    if winner is None:
        return _not_confirmed(study, nothing_to_judge(len(confirmation.finalists)))
    if confirmation.identical:
        sides = (Side(winner, trials[winner].settings, None, 0),) * 2
        said = f"The best trial has the settings of {name}: the search found nothing better."
        return Verdict("no_difference", study.metric, said, *sides)
    return _judged(confirmation, trials, winner, name)


def _judged(confirmation: Confirmation, trials: Mapping[int, TrialRecord], winner: int, name: str) -> Verdict:
    judgement = confirmation.judgement
    assert judgement is not None
    values = [tuple(confirmation.values(role, confirmation.metric, judgement.pairs)) for role in PAIR]
    candidate = Side(winner, trials[winner].settings, judgement.candidate_mean, judgement.n, values[0])
    equal = (each.number for each in trials.values() if dict(each.settings) == confirmation.baseline)
    baseline = Side(next(equal, None), confirmation.baseline, judgement.baseline_mean, judgement.n, values[1])
    outcome = "no_difference" if judgement.outcome == "identical" else str(judgement.outcome)
    metric = confirmation.judged_metric.replace("/", "_")
    searched = _searched(trials[winner], values[0]) if len(trials) > 1 else None  # one trial was not chosen
    return Verdict(
        outcome,
        metric,
        sentence(judgement, metric, name, searched, "test" if confirmation.test else "validation"),
        candidate,
        baseline,
        judgement.difference,
        judgement.interval,
        judgement.level,
        judgement.detectable,
        confirmation,
    )


def _searched(trial: TrialRecord, fresh: tuple[float, ...]) -> tuple[float, float] | None:
    """A trial's value in the search and the mean of the fresh ones; None where there are none."""
    finite = [each for each in fresh if isfinite(each)]
    return (trial.value, fmean(finite)) if finite and trial.value is not None else None


def _compared(confirmation: Confirmation, metric: str) -> dict[str, Any]:
    """Both means of a metric over the pairs of which both finished, the difference and its interval."""
    from scipy.special import stdtrit

    pairs = zip(*(confirmation.values(role, metric) for role in PAIR), strict=False)
    both = [(one, other) for one, other in pairs if isfinite(one) and isfinite(other)]
    if not both:
        return {}
    differences = [one - other for one, other in both]
    bounds = interval(differences, float(stdtrit(len(both) - 1, (1 + LEVEL) / 2))) if len(both) > 1 else None
    means = [fmean(each) for each in zip(*both, strict=True)]
    return {
        "candidate": means[0],
        "baseline": means[1],
        "difference": fmean(differences),
        "interval": bounds and list(bounds),
        "n": len(both),
    }


def _not_confirmed(study: StudyRecord, why: str) -> Verdict:
    return Verdict("not_confirmed", study.metric, why)


def _why_not(study: StudyRecord) -> str:
    search = (study.study or {}).get("search", {})
    trials = search.get("trials", 0)
    trainings = trials * search.get("seeds", 1)
    if search.get("confirm") == "off":
        return "Not confirmed: the confirmation was turned off (search.confirm)."
    if search.get("confirm", "auto") == "auto" and trainings < FEW_TRAININGS:
        return (
            f"Not confirmed: {trainings} trainings are confirmed only where search.confirm says so"
            " (small or full)."
        )
    if [each for each in study.trials if each.state == "running"] or trials > len(study.trials):
        return "Not confirmed yet: the search is not complete."
    return "Not confirmed: run the search again with search.confirm small or full."
