"""The progress of a search: as observers get it, and as it is counted. Imports neither torch nor Optuna."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from time import perf_counter
from typing import TYPE_CHECKING, Literal, NamedTuple

from adamtune.engines.distributed.base import WorkerStatus
from adamtune.storage.records import STATES, State, TrialRecord, counted, record_of, state_of

if TYPE_CHECKING:
    from optuna.study import Study

Reason = Literal["complete", "already_complete", "timeout", "interrupted"]


TOP = 5
"""The best trials that a progress has."""


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
        top: the best complete trials so far, at most ``TOP``, the best first.
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


class Tracker:
    """The counts and the best trials of a study, from which its progress is reported.

    Args:
        study: the study; its trials are counted now.
        metric: the metric that is optimized.
        total: the trials that the study asks for.
        foreign: the running trials that another program began; they are not counted.
    """

    def __init__(self, study: Study, metric: str, total: int, foreign: int = 0) -> None:
        self._study, self._metric, self._total, self._foreign = study, metric, total, foreign
        self._direction = study.direction.name.lower()
        self._began = perf_counter()
        self._ended = 0
        self._last: tuple[TrialRecord, ...] = ()
        self._notes: list[str] = []
        self.under_way = 0.0
        self.stage: Stage | None = None
        self.workers: tuple[WorkerStatus, ...] = ()
        self.failures = 0
        self.last_failure = ""
        self.recount()

    def recount(self) -> None:
        """Counts the trials in the storage, where other processes may have added some."""
        named = ((each.state.name, each) for each in self._study.get_trials(deepcopy=False))
        trials = [(state, each) for state, each in named if state in STATES]
        self.counts = Counter(state_of(state, "diverged_at" in each.user_attrs) for state, each in trials)
        # Nothing waits for the trials of another program, and they may never end.
        self.counts["running"] -= self._foreign
        ended = [(state, each) for state, each in trials if state != "RUNNING"]
        complete = [
            (n, each.value, each)
            for n, (state, each) in enumerate(ended, start=1)
            if state == "COMPLETE" and each.value is not None
        ]
        # Not `merit` of records: making a record of each of thousands of trials takes longer than counting
        # them.
        sign = 1 if self._direction == "minimize" else -1
        best = nsmallest(TOP, complete, key=lambda each: (sign * each[1], each[2].number))
        self._top = [record_of(each) for *_, each in best]
        self._improvements: list[tuple[int, float]] = []
        for n, value, _ in complete:
            self._improve(n, value)

    def _improve(self, ended: int, value: float) -> None:
        """Keeps the value of a trial if it is better than those before."""
        sign = 1 if self._direction == "minimize" else -1
        if not self._improvements or sign * value < sign * self._improvements[-1][1]:
            self._improvements.append((ended, value))

    @property
    def done(self) -> int:
        """Trials that ended."""
        return sum(self.counts.values()) - self.counts["running"]

    @property
    def begun(self) -> int:
        """Trials that ended or are in training, but not those that failed: others replace them."""
        return sum(self.counts.values()) - self.counts["failed"]

    @property
    def elapsed(self) -> float:
        """Seconds since this run began."""
        return perf_counter() - self._began

    def note(self, line: str) -> None:
        """Adds a line for people."""
        self._notes.append(line)

    def begin(self) -> None:
        """Counts a trial that was begun."""
        self.counts["running"] += 1

    def end(self, ended: Sequence[TrialRecord]) -> None:
        """Counts the trials that ended in this round."""
        for each in ended:
            self.counts["running"] -= 1
            self.counts[each.state] += 1
            self._note_failure(each)
            if each.state == "complete":
                self._offer(each)
        self._ended += len(ended)
        self._last = tuple(ended)

    def _note_failure(self, trial: TrialRecord) -> None:
        """Counts failures one after the other, and tells people of the first."""
        if trial.state != "failed":
            self.failures = 0
            return
        reason = (trial.failure or "").splitlines()
        self.last_failure = f"Trial {trial.number} failed: {': '.join([*reason[:1], *reason[1:][-1:]])}"
        if not self.failures:
            self.note(self.last_failure)
        self.failures += 1

    def _offer(self, trial: TrialRecord) -> None:
        """Keeps a complete trial if it is among the best so far."""
        self._top = nsmallest(TOP, [*self._top, trial], key=lambda each: each.merit(self._direction))
        self._improve(self.done, trial.final_value)

    def progress(self) -> Progress:
        """The progress as observers get it."""
        return Progress(
            study=self._study.study_name,
            metric=self._metric,
            direction=self._direction,
            # A lower total may have been asked for while trials were in training.
            total=max(self._total, self.begun),
            counts=counted(self.counts),
            elapsed=self.elapsed,
            ended=self._ended,
            top=tuple(self._top),
            improvements=tuple(self._improvements),
            under_way=self.under_way,
            notes=tuple(self._notes),
            last_batch=self._last,
            workers=self.workers,
            stage=self.stage,
        )
