"""The plans of a verdict: how many trainings it takes, when the pairs are judged, and how strictly."""

from __future__ import annotations

from typing import NamedTuple

from adamtune.config import StudyConfig
from adamtune.errors import UsageError

FEW_TRAININGS, MANY_TRAININGS = 16, 100
"""A study of fewer trainings is not confirmed unless it asks for it; one of many is confirmed in full."""


class Plan(NamedTuple):
    """A group-sequential comparison of a candidate with a baseline, after a choice among finalists.

    Attributes:
        finalists: how many of the search's best trials are trained on fresh seeds, to choose the candidate.
        seeds: the fresh seeds of each finalist; 0 where there is one finalist, and nothing to choose.
        looks: the numbers of pairs at which the pairs are judged, ascending.
        bounds: the critical value of the absolute t at each look.
        futility: the t in the candidate's favour below which a look ends the comparison; none for the last.
    """

    finalists: int
    seeds: int
    looks: tuple[int, ...]
    bounds: tuple[float, ...]
    futility: tuple[float, ...] = ()

    @property
    def trainings(self) -> int:
        """How many trainings the plan takes at most."""
        return self.finalists * self.seeds + 2 * self.looks[-1]

    def next_look(self, pairs: int) -> int | None:
        """The next number of pairs to be judged after ``pairs``; None after the last look."""
        return next((look for look in self.looks if look > pairs), None)


# The bounds are such that normal differences of mean 0 cross one of them in 5 % of comparisons, and that the
# looks up to n pairs get n / looks[-1] of it. They are simulated; python -m benchmarks.verdicts checks them.
SMALL = Plan(3, 2, (6, 12), (3.16, 2.47), (0.0,))
FULL = Plan(5, 3, (8, 14, 24), (3.13, 2.75, 2.34), (0.0, 1.0))
GATE = Plan(1, 0, (6, 10, 16, 24), (3.81, 3.19, 2.70, 2.40))
"""Of a candidate that is to be no worse than the baseline by a margin; see ``paired.gate``."""

LEAST_PAIRS = 5
"""Fewer pairs than these are never judged by their values."""

# One look at n pairs has Student's quantile at .975 of n - 1 degrees of freedom.
_ONE_LOOK = (2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160)
_SINGLE = tuple(Plan(1, 0, (LEAST_PAIRS + n,), (bound,)) for n, bound in enumerate(_ONE_LOOK))


def plan_for(trainings: int) -> Plan:
    """The largest plan that takes at most ``trainings`` trainings.

    ``FULL`` takes 63, ``SMALL`` 30. With fewer, the search's best trial is compared as it is, at one look at
    half as many pairs as there are trainings.

    Raises:
        UsageError: fewer than 10 trainings.
    """
    for plan in (FULL, SMALL, *reversed(_SINGLE)):
        if plan.trainings <= trainings:
            return plan
    raise UsageError(f"a verdict takes at least {_SINGLE[0].trainings} trainings; got {trainings}")


def confirmation_plan(study: StudyConfig, is_program: bool) -> Plan | None:
    """The plan that a study's ``search.confirm`` asks for; None for no confirmation.

    Args:
        study: the study.
        is_program: whether its trainings are functions or commands, which are costly.
    """
    asked, trainings = study.search.confirm, study.trials * study.search.seeds
    match asked:
        case "off":
            return None
        case "small":
            return SMALL
        case "full":
            return FULL
        case int():
            return plan_for(asked)
    if is_program or trainings < FEW_TRAININGS:
        return None
    return FULL if trainings >= MANY_TRAININGS else SMALL
