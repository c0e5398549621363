"""What a search tells whoever watches it; free of torch and Optuna."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from adamtune.storage.records import State

Reason = Literal["complete", "already_complete", "timeout", "interrupted"]


class Finished(NamedTuple):
    """A trial that ended in the last round; ``value`` is None where it has none."""

    number: int
    state: State
    value: float | None


@dataclass(frozen=True)
class Best:
    """The best complete trial so far.

    Attributes:
        settings: everything it was trained with.
        curve: (optimizer step, objective) at each evaluation.
        steps: optimizer steps of its training.
    """

    number: int
    value: float
    settings: Mapping[str, Any]
    curve: tuple[tuple[int, float], ...]
    steps: int


@dataclass(frozen=True)
class Progress:
    """Where a search stands after a round.

    Attributes:
        total: the trials that the study asks for, resumed runs included.
        counts: how many trials are complete, pruned, diverged, failed and running, by those names.
        elapsed: seconds since this run started.
        ended: trials that ended in this run.
        under_way: how much of the running trials' training is done, in trials.
        notes: lines for people, such as which engine was picked and why. They are only ever added to.
        last_batch: the trials that ended in this round.
    """

    study: str
    metric: str
    direction: str
    total: int
    counts: Mapping[State, int]
    elapsed: float
    ended: int
    best: Best | None = None
    under_way: float = 0.0
    notes: tuple[str, ...] = ()
    last_batch: tuple[Finished, ...] = ()

    @property
    def done(self) -> int:
        """Trials that are over, whichever way they ended."""
        return sum(count for state, count in self.counts.items() if state != "running")


class Outcome(NamedTuple):
    """How a run of a search ended."""

    reason: Reason
    progress: Progress
