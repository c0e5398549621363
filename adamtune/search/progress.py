"""The progress of a search, as observers get it. Free of torch and Optuna."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from adamtune.storage.records import State, TrialRecord

Reason = Literal["complete", "already_complete", "timeout", "interrupted"]


@dataclass(frozen=True)
class Progress:
    """The progress of a search after a round.

    Attributes:
        total: the trials that the study asks for, including earlier runs.
        counts: how many trials are complete, pruned, diverged, failed and running, by those names.
        elapsed: seconds since this run started.
        ended: trials that ended in this run.
        under_way: the part of the running trials' training that is done, in trials.
        best: the best complete trial so far.
        notes: lines for people, such as the engine that was chosen and why. They are only ever added to.
        last_batch: the trials that ended in this round.
    """

    study: str
    metric: str
    direction: str
    total: int
    counts: Mapping[State, int]
    elapsed: float
    ended: int
    best: TrialRecord | None = None
    under_way: float = 0.0
    notes: tuple[str, ...] = ()
    last_batch: tuple[TrialRecord, ...] = ()

    @property
    def done(self) -> int:
        """Trials that ended; others replace those that failed."""
        return sum(count for state, count in self.counts.items() if state not in ("running", "failed"))


Observer = Callable[[Progress], None]


class Outcome(NamedTuple):
    """How a run of a search ended."""

    reason: Reason
    progress: Progress
