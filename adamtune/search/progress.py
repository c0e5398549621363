"""The progress of a search as observers get it. Imports neither torch nor Optuna."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from adamtune.engines.distributed.base import WorkerStatus
from adamtune.storage.records import State, TrialRecord

Reason = Literal["complete", "already_complete", "timeout", "interrupted"]


class Stage(NamedTuple):
    """What is trained after a search.

    Attributes:
        name: such as ``confirmation, judging``.
        done: trainings that ended.
        most: trainings that it takes at most.
    """

    name: str
    done: int
    most: int

    def __str__(self) -> str:
        return f"{self.name}: {self.done} of at most {self.most} trainings"


@dataclass(frozen=True)
class Progress:
    """The progress of a search after a round.

    Attributes:
        total: the trials that the study asks for, including earlier runs.
        counts: how many trials are complete, pruned, diverged, failed and running, by those names.
        elapsed: seconds since this run started.
        ended: trials that ended in this run.
        under_way: the part of the running trials' training that is done, in trials.
        top: the best complete trials so far, at most five, the best first.
        improvements: how many trials had ended when the best value became another, and that value.
        notes: lines for people, such as the engine that was chosen and why. They are only ever added to.
        last_batch: the trials that ended in this round.
        workers: what each worker does; empty where the search trains in its own process.
        stage: what is trained after the search; None during the search.
    """

    study: str
    metric: str
    direction: str
    total: int
    counts: Mapping[State, int]
    elapsed: float
    ended: int
    top: tuple[TrialRecord, ...] = ()
    improvements: tuple[tuple[int, float], ...] = ()
    under_way: float = 0.0
    notes: tuple[str, ...] = ()
    last_batch: tuple[TrialRecord, ...] = ()
    workers: tuple[WorkerStatus, ...] = ()
    stage: Stage | None = None

    @property
    def done(self) -> int:
        """Trials that ended; others replace those that failed."""
        return sum(count for state, count in self.counts.items() if state not in ("running", "failed"))

    @property
    def best(self) -> TrialRecord | None:
        """The best complete trial so far."""
        return self.top[0] if self.top else None


Observer = Callable[[Progress], None]


class Outcome(NamedTuple):
    """How a run of a search ended."""

    reason: Reason
    progress: Progress
