"""Whether settings are no worse than accepted ones: the trainings of both, and what they say."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import inf, isfinite, nan
from statistics import fmean
from typing import NamedTuple

from adamtune.analysis.confirmation import Result, Training, missing_pairs
from adamtune.analysis.looks import GATE
from adamtune.analysis.paired import Judgement, gate
from adamtune.analysis.sentences import sentence
from adamtune.errors import UsageError

ROLES = "candidate", "baseline"


class Tolerance(NamedTuple):
    """The loss that a candidate may have.

    Attributes:
        text: as it was written, such as ``2%``.
        amount: in the metric's own units, or a share of the baseline's mean.
        is_share: whether it is a share.
    """

    text: str
    amount: float
    is_share: bool


def read_tolerance(text: str) -> Tolerance:
    """The tolerance that a text says: ``2%`` or ``0.002``.

    Raises:
        UsageError: the text is neither, or not above 0.
    """
    found = re.fullmatch(r"\s*(\d*\.?\d+(?:[eE][-+]?\d+)?|\d+\.)\s*(%?)\s*", text, re.ASCII)
    amount = float(found[1]) / (100 if found[2] else 1) if found else 0.0
    if found is None or not 0 < amount < inf:
        raise UsageError(
            f"--tolerance: found {text!r}; allowed: a percentage of the baseline's mean above 0, such as 2%,"
            " or a number above 0 in the metric's own units, such as 0.002"
        )
    return Tolerance(text.strip(), amount, bool(found[2]))


@dataclass
class Gate:
    """The comparison of a candidate with a baseline on common seeds.

    Attributes:
        metric, direction: the objective.
        tolerance: how much worse the candidate may be.
        results: the results of each of ``ROLES``, by the number of the seed.
    """

    metric: str
    direction: str
    tolerance: Tolerance
    results: dict[str, dict[int, Result]] = field(default_factory=lambda: {role: {} for role in ROLES})

    @property
    def done(self) -> int:
        """Trainings that have ended."""
        return sum(map(len, self.results.values()))

    @property
    def most(self) -> int:
        """Trainings that it takes at most."""
        return GATE.trainings

    def missing(self) -> list[Training]:
        """The trainings to do next; none once it is decided."""
        return missing_pairs(
            self.results, ROLES, GATE.looks, lambda look: self._judged(look).outcome is not None
        )

    def _values(self, role: str) -> list[float]:
        own = self.results[role]
        return [own[number].get(self.metric, nan) for number in sorted(own)]

    @property
    def margin(self) -> float:
        """The tolerance in the metric's own units.

        A share is one of the mean of the first trainings of the baseline that finished, as many as the first
        look has, so that later trainings do not change it.

        Raises:
            UsageError: this mean is 0.
        """
        if not self.tolerance.is_share:
            return self.tolerance.amount
        finished = [each for each in self._values("baseline") if isfinite(each)][: GATE.looks[0]]
        if not finished:  # then no pair has finished, and nothing is judged by its value
            return inf
        margin = self.tolerance.amount * abs(fmean(finished))
        if margin == 0:
            raise UsageError(
                f"--tolerance: the baseline's mean {self.metric} is 0, of which {self.tolerance.text} is 0;"
                " give a number in the metric's own units, such as 0.002"
            )
        return margin

    @property
    def judgement(self) -> Judgement:
        """What the pairs say so far: pass, fail or inconclusive once it is decided."""
        return self._judged(min(map(len, self.results.values())))

    def _judged(self, pairs: int) -> Judgement:
        candidate, baseline = (self._values(role)[:pairs] for role in ROLES)
        return gate(candidate, baseline, self.direction, self.margin)

    def sentence(self, baseline: str) -> str:
        """What the pairs say, in words.

        Args:
            baseline: what the baseline is called.
        """
        judgement, tolerance = self.judgement, self.tolerance
        said = sentence(judgement, self.metric, baseline)
        share = f"{tolerance.text} of the mean of {baseline}"
        share += f", {self.margin:.2g}" if isfinite(self.margin) else ""
        return f"{said} Tolerated: {share if tolerance.is_share else tolerance.text}."
