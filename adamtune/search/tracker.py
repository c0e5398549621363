"""The counts and the best trials of a study while it is searched, from which its progress is reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from heapq import nsmallest
from time import perf_counter

from optuna.study import Study

from adamtune.engines.distributed.base import WorkerStatus
from adamtune.search.ended import EndedTrials
from adamtune.search.progress import Progress, Stage
from adamtune.storage.optuna_private import all_trials
from adamtune.storage.records import STATES, State, TrialRecord, counted, record_of, state_of

TOP = 5
"""The best trials that a progress has."""


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
        self.counts: Counter[State] = Counter()
        self._top: list[TrialRecord] = []
        self._improvements: list[tuple[int, float]] = []
        self._trials, self._own = EndedTrials(), set[int]()
        self.recount()

    def recount(self) -> None:
        """Counts what is new in the storage, where other processes may have added and ended trials."""
        ended = [each for each in self._trials.new(all_trials(self._study)) if each.number not in self._own]
        self._own.clear()
        running = sum(each.state.name in STATES for each in self._trials.open)
        # Nothing waits for the trials of another program, and they may never end.
        self.counts["running"] = running - self._foreign
        complete = []
        for each in ended:
            self.counts[state_of(each.state.name, "diverged_at" in each.user_attrs)] += 1
            if each.state.name == "COMPLETE" and each.value is not None:
                complete.append(each)
                self._improve(self.done, each.value)
        # Not `merit` of records: making a record of each of thousands of trials takes longer than counting
        # them.
        sign = 1 if self._direction == "minimize" else -1
        best = nsmallest(TOP, complete, key=lambda each: (sign * (each.value or 0.0), each.number))
        self._rank([record_of(each) for each in best])

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
            self._own.add(each.number)
            self._note_failure(each)
            if each.state == "complete":
                self._rank([each])
                self._improve(self.done, each.final_value)
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

    def _rank(self, complete: Sequence[TrialRecord]) -> None:
        """Keeps those of complete trials that are among the best so far."""
        self._top = nsmallest(TOP, [*self._top, *complete], key=lambda each: each.merit(self._direction))

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
