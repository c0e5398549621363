"""Counts the trials of a study: once from the storage, then kept up to date."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from time import perf_counter

from optuna.study import Study
from optuna.trial import TrialState

from adamtune.search.progress import Progress
from adamtune.storage.records import TrialRecord, counted, record_of, state_of

BEGUN = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING)


class Tracker:
    """The counts and the best trial of a study, from which its progress is reported.

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
        self.failures = 0
        self.last_failure = ""
        self._best: TrialRecord | None = None
        self.recount()

    def recount(self) -> None:
        """Counts the trials in the storage, where other processes may have added some."""
        trials = self._study.get_trials(deepcopy=False, states=BEGUN)
        self.counts = Counter(state_of(each.state.name, "diverged_at" in each.user_attrs) for each in trials)
        self.counts["running"] -= self._foreign
        complete = (each for each in trials if each.state == TrialState.COMPLETE)
        sign = 1 if self._direction == "minimize" else -1
        best = min(complete, key=lambda each: (sign * each.value, each.number), default=None)  # type: ignore[operator]
        if best is not None:
            self._offer(record_of(best))

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
        """Counts failures one after the other, and tells people of the first in this run."""
        if trial.state != "failed":
            self.failures = 0
            return
        reason, is_first = (trial.failure or "").splitlines(), not self.last_failure
        self.last_failure = f"Trial {trial.number} failed: {': '.join([*reason[:1], *reason[1:][-1:]])}"
        if is_first:
            self.note(self.last_failure)
        self.failures += 1

    def _offer(self, trial: TrialRecord) -> None:
        """Keeps a complete trial if it is the best so far."""
        if self._best is None or trial.merit(self._direction) < self._best.merit(self._direction):
            self._best = trial

    def progress(self) -> Progress:
        """The progress as observers get it."""
        return Progress(
            study=self._study.study_name,
            metric=self._metric,
            direction=self._direction,
            total=max(self._total, self.begun),
            counts=counted(self.counts),
            elapsed=self.elapsed,
            ended=self._ended,
            best=self._best,
            under_way=self.under_way,
            notes=tuple(self._notes),
            last_batch=self._last,
        )
