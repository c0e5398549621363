"""Trainings of settings on given seeds, as many at once as an engine has slots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from adamtune.analysis.confirmation import Result, Training
from adamtune.engines.base import Engine, Evaluation, Member
from adamtune.search.faults import training_faults


class Trainings:
    """The trainings that an engine has begun and not ended.

    Args:
        engine: trains them; it has no members at first.
        study: the name of the study, for messages.
        make: the member of a training.
    """

    def __init__(self, engine: Engine, study: str, make: Callable[[Training], Member]) -> None:
        self._engine, self._study, self._make = engine, study, make
        self._running: dict[Member, Training] = {}
        self._paused = False

    def __bool__(self) -> bool:
        return bool(self._running)

    def begin(self, missing: Callable[[], Sequence[Training]]) -> bool:
        """Begins missing trainings while there are free slots; whether any was begun."""
        free = self._engine.slots - len(self._running)
        if self._paused or not free:
            return False
        waiting = [each for each in missing() if each not in self._running.values()]
        begun = {self._make(each): each for each in waiting[:free]}
        with training_faults(self._study):
            self._engine.admit(list(begun))
        self._running |= begun
        return bool(begun)

    def advance(self, pause: Callable[[], bool]) -> list[tuple[Training, Result]]:
        """Trains to the next evaluation, or until ``pause``; the trainings that ended, and their results."""
        with training_faults(self._study):
            evaluations = self._engine.advance(pause)
        self._paused = not evaluations and bool(self._running)
        return [(self._running.pop(each.member), _result(each)) for each in evaluations if each.ends]

    def state(self) -> dict[str, Any] | None:
        """The state from which ``restore`` continues; None where nothing is in training."""
        if not self._running:
            return None
        with training_faults(self._study):
            return {
                "trainings": [list(each) for each in self._running.values()],
                "paused": self._paused,
                "slots": self._engine.slots,
                "engine": self._engine.state(),
            }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continues the trainings of a ``state``."""
        trainings = [Training(*each) for each in state["trainings"]]
        self._running = {self._make(each): each for each in trainings}
        with training_faults(self._study):
            self._engine.restore(list(self._running), state["engine"])
        self._paused = state["paused"]


def _result(evaluation: Evaluation) -> Result:
    if evaluation.failure is not None:
        return {"failure": evaluation.failure}
    if evaluation.diverged_at is not None:
        return {"diverged_at": evaluation.diverged_at}
    return dict(evaluation.metrics)
