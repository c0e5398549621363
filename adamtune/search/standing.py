"""Where a search stands: counted once from the storage, then kept up to date."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from time import perf_counter

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from adamtune.search.progress import Best, Finished, Progress
from adamtune.storage.records import counted, state_of

BEGUN = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING)


class Standing:
    """Counts and the best trial of a study.

    Args:
        study: the study; its trials are counted now.
        metric: what is optimized.
        total: the trials that the study asks for.
    """

    def __init__(self, study: Study, metric: str, total: int) -> None:
        self._study, self._metric, self._total = study, metric, total
        self._sign = 1 if study.direction == StudyDirection.MINIMIZE else -1
        self._began = perf_counter()
        self._ended = 0
        self._last: tuple[Finished, ...] = ()
        self._notes: list[str] = []
        self.under_way = 0.0
        self._best: FrozenTrial | None = None
        self.recount()

    def recount(self) -> None:
        """Counts what the storage has, where other processes may have added to it."""
        trials = self._study.get_trials(deepcopy=False, states=BEGUN)
        self.counts = Counter(state_of(each.state.name, "diverged_at" in each.user_attrs) for each in trials)
        for each in trials:
            if each.state == TrialState.COMPLETE:
                self.offer(each)

    @property
    def done(self) -> int:
        """Trials that are over."""
        return sum(self.counts.values()) - self.counts["running"]

    @property
    def asked(self) -> int:
        """Trials that are over or in training; one that failed is owed again."""
        return sum(self.counts.values()) - self.counts["failed"]

    @property
    def elapsed(self) -> float:
        """Seconds since this run began."""
        return perf_counter() - self._began

    def note(self, line: str) -> None:
        """Adds a line for people."""
        self._notes.append(line)

    def begin(self) -> None:
        """A trial was begun."""
        self.counts["running"] += 1

    def end(self, ended: Sequence[Finished]) -> None:
        """Trials ended in this round."""
        for each in ended:
            self.counts["running"] -= 1
            self.counts[each.state] += 1
        self._ended += len(ended)
        self._last = tuple(ended)

    def offer(self, trial: FrozenTrial) -> None:
        """Keeps a complete trial if it is the best so far."""
        value = trial.value
        assert value is not None
        if self._best is None or self._sign * value < self._sign * self._best.value:  # type: ignore[operator]
            self._best = trial

    def progress(self) -> Progress:
        """What watchers are told."""
        return Progress(
            study=self._study.study_name,
            metric=self._metric,
            direction=self._study.direction.name.lower(),
            total=self._total,
            counts=counted(self.counts),
            elapsed=self.elapsed,
            ended=self._ended,
            best=None if self._best is None else _best(self._best),
            under_way=self.under_way,
            notes=tuple(self._notes),
            last_batch=self._last,
        )


def _best(trial: FrozenTrial) -> Best:
    assert trial.value is not None
    attrs = trial.user_attrs
    return Best(
        number=trial.number,
        value=trial.value,
        settings=attrs.get("settings", trial.params),
        curve=tuple(sorted(trial.intermediate_values.items())),
        steps=attrs.get("steps", max(trial.intermediate_values, default=0)),
    )
