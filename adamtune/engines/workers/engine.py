"""The engine of workers: it trains each member in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from math import inf
from pathlib import Path
from selectors import DefaultSelector
from typing import Any

from adamtune.engines.base import Evaluation, Member
from adamtune.engines.workers.process import Guard
from adamtune.engines.workers.programs import training
from adamtune.engines.workers.training import Training

TICK_SECONDS, SHORT_TICK_SECONDS = 0.05, 0.002
"""How long the engine waits for output before it looks at the processes; less where one is ending."""


class Workers:
    """An ``Engine`` whose members are functions or commands, which run in processes.

    A member starts in the order of admission, when fewer than ``workers`` processes run. Its reports become
    evaluations when all members of its trial have reported that step.

    Args:
        slots: members in training at once, waiting ones included.
        workers: processes at once.
        folder: the folder for logs and checkpoints of the study's trials.
        timeout: seconds after which a process is stopped, and its trial has failed; None for no limit.
        threads: threads of each process, for libraries that obey OMP_NUM_THREADS; None leaves it to them.
    """

    def __init__(
        self,
        slots: int,
        workers: int,
        folder: Path,
        timeout: float | None = None,
        threads: int | None = None,
    ) -> None:
        self.slots, self._workers, self._folder, self._timeout = slots, workers, folder, timeout
        # Without a buffer, what a Python program prints arrives when it is printed.
        self._environment = {"PYTHONUNBUFFERED": "1", **os.environ}
        if threads is not None:
            self._environment.setdefault("OMP_NUM_THREADS", str(threads))
        self._trainings: dict[Member, Training] = {}  # in order of admission
        self._ending: list[Training] = []
        self._selector = DefaultSelector()
        self._guard: Guard | None = None

    def admit(self, members: Sequence[Member]) -> None:
        """Puts members into free slots, at step 0. Raises ValueError if there are too few free slots."""
        if len(self._trainings) + len(members) > self.slots:
            raise ValueError(f"{len(members)} members for {self.slots - len(self._trainings)} free slots")
        for member in members:
            self._trainings[member] = training(member, self._folder)
            self._trainings[member].begin()

    def advance(self, pause: Callable[[], bool] = lambda: False) -> list[Evaluation]:
        """Waits for the next evaluations of any trials; see ``Engine.advance``."""
        while not (found := self._evaluations()) and self._trainings and not pause():
            for each in self._trainings.values():
                each.answer(goes_on=True)  # no pruner has ended it, or other members have yet to report
            self._start()
            self._wait()
        return found

    def _start(self) -> None:
        running = sum(each.process is not None for each in self._trainings.values()) + len(self._ending)
        waiting = [each for each in self._trainings.values() if each.is_idle]
        for each in waiting[: max(0, self._workers - running)]:
            self._guard = self._guard or Guard()
            each.start(self._guard, self._selector, self._environment)

    def _wait(self) -> None:
        """Reads what the processes print and report, and looks which have ended."""
        processes = [each.process for each in (*self._trainings.values(), *self._ending)]
        is_short = any(each is not None and each.is_silent for each in processes)
        for key, _ in self._selector.select(SHORT_TICK_SECONDS if is_short else TICK_SECONDS):
            key.data()
        for each in self._trainings.values():
            if each.process is not None:
                each.poll(self._timeout)
        for each in [each for each in self._ending if each.has_stopped]:
            self._ending.remove(each)

    def _evaluations(self) -> list[Evaluation]:
        """The next evaluation of every trial that has one, in order of admission."""
        found: list[Evaluation] = []
        for _, trial in groupby(self._trainings.values(), key=lambda each: each.member.trial):
            found += _next_evaluations(list(trial))
        for each in found:
            if each.ends:
                self.release([each.member])
        return found

    def release(self, members: Sequence[Member]) -> None:
        """Frees the slots of members whose training ends here; a process may take a moment to end."""
        for member in members:
            self._stop(self._trainings.pop(member))

    def _stop(self, training: Training, keep: bool = False) -> None:
        """Ends a training; its checkpoint is deleted unless it is to be kept."""
        training.stop(keep)
        if not training.has_stopped:
            self._ending.append(training)

    def state(self) -> dict[str, Any]:
        """Each member's last report, and the reports that no evaluation was made of yet."""
        return {"members": [each.state() for each in self._trainings.values()]}

    def restore(self, members: Sequence[Member], state: Mapping[str, Any]) -> None:
        """Replaces all members by those of a state.

        A training continues from its checkpoint. One without a checkpoint begins anew, and reports of steps
        that it had reported are left out.
        """
        self.close()
        self._trainings = {member: training(member, self._folder) for member in members}
        for each, saved in zip(self._trainings.values(), state["members"], strict=True):
            each.restore(saved)

    def close(self) -> None:
        """Ends all processes: what they trained since their last checkpoint is lost."""
        for each in self._trainings.values():
            self._stop(each, keep=True)
        self._trainings = {}
        try:
            while self._ending:
                self._wait()
        finally:  # also where the user does not wait
            for each in self._ending:
                each.kill()
            self._ending = []
            if self._guard is not None:
                self._guard.close()
                self._guard = None


def _next_evaluations(trial: Sequence[Training]) -> list[Evaluation]:
    """The next evaluation of every member of a trial at one step.

    That of one member alone if it has failed or diverged; none where the members have not reported alike yet.
    """
    diverged = [each for each in trial if each.divergence]
    broken = min((each.divergence.step for each in diverged if each.divergence), default=inf)
    steps = set.intersection(*(set(each.reports) for each in trial))
    if steps and min(steps) < broken:
        return [each.evaluation(each.reports[min(steps)]) for each in trial]
    if diverged:
        return [each.evaluation(each.divergence) for each in diverged[:1]]
    failed = [each.evaluation(None) for each in trial if each.failure]
    if failed:
        return failed[:1]
    if all(each.is_finished for each in trial):
        return [each.evaluation(None) for each in trial]
    return []
