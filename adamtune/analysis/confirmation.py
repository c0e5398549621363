"""The confirmation of a study: its best trials and its baseline, trained on fresh seeds, as it is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite, nan
from typing import Any, NamedTuple

from adamtune.analysis.ablations import Effect, paired_effects
from adamtune.analysis.finalists import choose, finalists
from adamtune.analysis.looks import Plan
from adamtune.analysis.paired import Judgement, judge
from adamtune.analysis.rows import with_rows

Result = Mapping[str, Any]
"""The metrics of a training; ``diverged_at`` or ``failure`` alone where it did not finish."""


class Training(NamedTuple):
    """A training of the confirmation.

    Attributes:
        role: the number of a finalist's trial, as text, where finalists are compared; ``lr`` where the lr of
            the baseline is tuned, and ``lr`` with the place of the lr where the best of these are compared;
            then ``winner`` or ``baseline``.
        number: the number of its seed, from 0, among those of the comparison; of ``lr``, which lr it is.
    """

    role: str
    number: int

    @property
    def is_pair(self) -> bool:
        """Whether its seed is one of those of the pairs."""
        return self.role in PAIR or self.role.startswith(without(""))


PAIR, LR = ("winner", "baseline"), "lr"
ABLATION_SEEDS = 10
"""The seeds on which each setting is put back: the first of those of the pairs."""


def of_lr(place: int) -> str:
    """The role of the baseline with the lr at this place among those tried, on the finalists' seeds."""
    return f"{LR} {place}"


def without(setting: str) -> str:
    """The role of the winner with this setting put back."""
    return f"without {setting}"


@dataclass
class Confirmation:
    """The trainings of a confirmation so far.

    Attributes:
        plan: how many trainings it takes.
        metric, direction: the objective.
        trials: trials that had ended when it began. With others, it is stale.
        asked: the study's ``baseline``.
        baseline: the settings of the baseline.
        generation: how many confirmations the study had before; each has seeds of its own.
        results: the results of each role, by the number of the seed.
        test: how many test rows the pairs are compared on; 0 where there are none.
        lrs: the learning rates that the baseline may have, where its lr is tuned. Each is trained once, and
            the best of them on the seeds of the finalists, so that neither side is chosen by luck alone.
        ablated: the settings that are put back to the baseline's, one at a time, if the winner is better.
        identical: whether the winner has the settings of the baseline, so that there are no pairs.
    """

    plan: Plan
    metric: str
    direction: str
    trials: int
    asked: Any
    finalists: tuple[int, ...]
    baseline: dict[str, Any] = field(default_factory=dict)
    generation: int = 0
    results: dict[str, dict[int, Result]] = field(default_factory=dict)
    test: int = 0
    lrs: tuple[float, ...] = ()
    ablated: tuple[str, ...] = ()
    identical: bool = False

    def to_json(self) -> dict[str, Any]:
        """The confirmation as JSON values."""
        return {**asdict(self), "plan": self.plan._asdict()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Confirmation:
        """The confirmation of what ``to_json`` returned, also after it was written and read."""
        lists = {key: tuple(each) for key, each in stored["plan"].items() if isinstance(each, list)}
        plan = Plan(**{**stored["plan"], **lists})
        results = {
            role: {int(number): result for number, result in own.items()}
            for role, own in stored["results"].items()
        }
        lists = {key: tuple(stored[key]) for key in ("finalists", "lrs", "ablated")}
        return cls(**{**stored, "plan": plan, "results": results, **lists})

    def keep(self, training: Training, result: Result) -> None:
        """Keeps the result of a training."""
        self.results.setdefault(training.role, {})[training.number] = result

    @property
    def done(self) -> int:
        """Trainings that have ended."""
        return sum(map(len, self.results.values()))

    @property
    def most(self) -> int:
        """Trainings that it takes at most."""
        tuning = len(self.lrs) + min(self.plan.finalists, len(self.lrs)) * self.plan.seeds
        return self.plan.trainings + tuning + ABLATION_SEEDS * len(self.ablated)

    @property
    def _best_places(self) -> list[int]:
        """The places of the best of ``lrs`` by one training each, as many as there are finalists."""
        values = [
            (place, value) for place, value in enumerate(self.values(LR, self.metric)) if isfinite(value)
        ]
        return list(finalists(values, self.direction, self.plan))

    def _missing_for_tuning(self) -> list[Training]:
        """The trainings that the lr of the baseline needs; none if it is known or not tuned."""
        each_once = [Training(LR, place) for place in range(len(self.lrs)) if self._lacks(LR, place)]
        if each_once or not self.lrs:
            return each_once
        wanted = [
            Training(of_lr(place), number) for number in range(self.plan.seeds) for place in self._best_places
        ]
        return [each for each in wanted if self._lacks(*each)]

    @property
    def is_tuned(self) -> bool:
        """Whether the settings of the baseline are known."""
        return not self._missing_for_tuning()

    @property
    def best_lr(self) -> float | None:
        """The learning rate of the baseline; None where it is not tuned, not known yet, or all diverged."""
        if not self.lrs or not self.is_tuned:
            return None
        places, seeds = self._best_places, self.plan.seeds
        if seeds:
            values = {place: self.values(of_lr(place), self.metric, seeds) for place in places}
            best = choose(values, self.direction)
        else:
            best = next(iter(places), None)
        return None if best is None else self.lrs[best]

    @property
    def winner(self) -> int | None:
        """The trial that is compared with the baseline; None while it is not known, or if all diverged."""
        if self.plan.seeds == 0 or len(self.finalists) == 1:
            return next(iter(self.finalists), None)
        if any(
            self._lacks(str(each), number) for each in self.finalists for number in range(self.plan.seeds)
        ):
            return None
        values = {each: self.values(str(each), self.metric, self.plan.seeds) for each in self.finalists}
        return choose(values, self.direction)

    def missing(self) -> list[Training]:
        """The trainings to do next; none once all is known."""
        return self.missing_for_verdict() or self._missing_for_ablations()

    def _missing_for_ablations(self) -> list[Training]:
        roles = ["winner", *map(without, self.ablated)] if self.ablated and self.is_better else []
        return [
            Training(role, number)
            for number in range(ABLATION_SEEDS)
            for role in roles
            if self._lacks(role, number)
        ]

    @property
    def stage(self) -> str:
        """What is trained next, or was last: choosing, tuning the baseline, judging, or ablations."""
        waiting = self.missing_for_verdict()
        if not waiting:
            return "ablations" if self.ablated and self.is_better else "judging"
        if waiting[0].is_pair:
            return "judging"
        return "choosing" if waiting[0].role in map(str, self.finalists) else "tuning the baseline"

    def missing_for_verdict(self) -> list[Training]:
        """The trainings to do next; none once there is a verdict."""
        if self.plan.seeds and len(self.finalists) > 1:
            choosing = [
                Training(str(each), number)
                for number in range(self.plan.seeds)
                for each in self.finalists
                if self._lacks(str(each), number)
            ]
            if choosing:
                return choosing
        if self.winner is None or self.identical:
            return []
        if tuning := self._missing_for_tuning():
            return tuning
        return missing_pairs(
            self.results, PAIR, self.plan.looks, lambda look: self._judged(look).outcome is not None
        )

    def _lacks(self, role: str, number: int) -> bool:
        return number not in self.results.get(role, {})

    @property
    def effects(self) -> list[Effect]:
        """What putting back each of the ablated settings changes; none before all are trained."""
        roles = {name: without(name) for name in self.ablated}
        if not roles or any(len(self.results.get(role, {})) < ABLATION_SEEDS for role in roles.values()):
            return []
        values = {name: self.values(role, self.metric, ABLATION_SEEDS) for name, role in roles.items()}
        return paired_effects(self.values("winner", self.metric, ABLATION_SEEDS), values)

    def values(self, role: str, metric: str, most: int | None = None) -> list[float]:
        """The metric of each training of a role, by seed; NaN of one that did not finish."""
        own = self.results.get(role, {})
        return [own[number].get(metric, nan) for number in sorted(own)][:most]

    def metrics(self) -> list[str]:
        """The names of the metrics of the pairs, without those of parts of the test rows."""
        finished = (each for each in self.results.get("winner", {}).values() if self.metric in each)
        return [name for name in next(finished, {}) if not name.startswith("test.")]

    @property
    def judged_metric(self) -> str:
        """The metric of the pairs: the objective, of the test rows where there are some."""
        return f"test/{self.metric.removeprefix('val_')}" if self.test else self.metric

    @property
    def judgement(self) -> Judgement | None:
        """What the pairs say so far, about new rows where test rows were scored; None without pairs."""
        pairs = min(len(self.results.get(role, {})) for role in PAIR)
        looks = [look for look in self.plan.looks if look <= pairs]
        if not looks:
            return None
        judgement, parts = self._judged(looks[-1]), self.row_differences()
        return with_rows(judgement, parts, self.test) if len(parts) > 1 else judgement

    @property
    def is_better(self) -> bool:
        """Whether the winner is better than the baseline, as far as is known."""
        judgement = None if self.identical else self.judgement
        return judgement is not None and judgement.outcome == "better"

    def _judged(self, pairs: int) -> Judgement:
        winner, baseline = (self.values(role, self.judged_metric, pairs) for role in PAIR)
        return judge(winner, baseline, self.direction, self.plan)

    def row_differences(self) -> list[float]:
        """The mean difference, winner minus baseline, of each part of the test rows."""
        name = self.metric.removeprefix("val_")
        return [] if not self.test else list(self._row_differences(name))

    def _row_differences(self, name: str) -> Iterator[float]:
        part = 0
        while any(f"test.{part}/{name}" in each for each in self.results.get("winner", {}).values()):
            pairs = zip(*(self.values(role, f"test.{part}/{name}") for role in PAIR), strict=False)
            both = [one - other for one, other in pairs if isfinite(one) and isfinite(other)]
            if both:
                yield sum(both) / len(both)
            part += 1


def missing_pairs(
    results: Mapping[str, Mapping[int, Result]],
    roles: Sequence[str],
    looks: Sequence[int],
    is_decided: Callable[[int], bool],
) -> list[Training]:
    """The trainings that the next look needs; none after the look that decided, or the last.

    Args:
        results: those of each role so far, by the number of the seed.
        roles: the two that are compared.
        looks: the numbers of pairs at which they are compared.
        is_decided: whether the first so many pairs decide.
    """
    for look in looks:
        absent = [
            Training(role, number)
            for number in range(look)
            for role in roles
            if number not in results.get(role, {})
        ]
        if absent or is_decided(look):
            return absent
    return []
