"""A member of the engine of workers: its process, its reports, and the files that make it resumable."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from selectors import BaseSelector
from time import perf_counter
from typing import Any

from adamtune.engines.base import Evaluation, Member
from adamtune.engines.workers.folder import Folder
from adamtune.engines.workers.process import GRACE_SECONDS, Guard, Process, describe
from adamtune.engines.workers.reports import Report
from adamtune.tasks.program import Program
from adamtune.tasks.randomness import derive

LOG_LINES = 20
"""A failure has so many of the last lines of the log."""


class Training:
    """A member in training; the base of functions and of commands.

    Args:
        member: the member; its task is a ``Program``.
        parent: the folder of the study's trials.

    Attributes:
        folder: its files.
        process: its process, while it runs.
        failure: why it failed, and the last lines of its log.
        is_finished: whether the program has ended well.
        reports: the reports of which no evaluation was made yet, by step.
        last: the last report.
    """

    def __init__(self, member: Member, parent: Path) -> None:
        program: object = member.task
        assert isinstance(program, Program)
        self.member, self.program, self.folder = member, program, Folder(member, parent)
        self.process: Process | None = None
        self.failure: str | None = None
        self.is_finished = False
        self.reports: dict[int, Report] = {}
        self.last: Report | None = None
        self._total = self.program.steps
        self._began: float | None = None
        self._seconds = 0.0
        self._keep = False

    @property
    def values(self) -> dict[str, Any]:
        """Everything that the member is trained with, by name."""
        member = self.member
        optimizer = {"optimizer": member.optimizer, **member.hyperparameters}
        schedule = {"schedule": member.schedule, **member.schedule_hyperparameters}
        return {**optimizer, **schedule, **self.program.settings}

    @property
    def seed(self) -> int:
        """The seed of the program: that of the replicate, whatever the trial."""
        return derive(self.member.seed, "program", self.member.replicate)

    def begin(self) -> None:
        """Removes what an earlier trial of the same number has left."""
        self.folder.remove()
        self.folder.log.path.unlink(missing_ok=True)

    @property
    def is_idle(self) -> bool:
        """Whether its process is still to be started."""
        return self.process is None and not self.is_finished and self.failure is None

    def start(self, guard: Guard, selector: BaseSelector, environment: Mapping[str, str]) -> None:
        """Starts the process. If it cannot be started, the training has failed."""
        self.folder.create()
        self._began = perf_counter()
        try:
            self.process = self.launch(guard, selector, environment)
        except OSError as error:
            self.fail(f"cannot be started: {error.filename}: {error.strerror}")

    def launch(self, guard: Guard, selector: BaseSelector, environment: Mapping[str, str]) -> Process:
        """The process of the program. Raises OSError if it cannot be started."""
        raise NotImplementedError

    def answer(self, goes_on: bool) -> bool:
        """Tells a program whether its training continues; returns whether it was waiting for that."""
        return False

    def read(self) -> None:
        """Reads reports that no selector tells of."""

    def disconnect(self) -> None:
        """Ends the exchange with a program that ends."""

    def shortfall(self) -> str:
        """What a program that ended with exit code 0 has left undone; empty if nothing."""
        return "" if self.last else f"it ended without a report of {', '.join(self.program.metrics)}"

    def accept(self, report: Report) -> bool:
        """Takes a report; whether it is new, and not one of a training that began anew."""
        if self.last and report.step <= self.last.step:
            return False
        self.last = self.reports[report.step] = report
        self.folder.note(report._asdict())
        return True

    def set_total(self, total: int) -> None:
        """Takes the step of the last report, which the program tells."""
        self._total = total

    def fail(self, reason: str) -> None:
        """Ends the training as failed."""
        self.failure = "\n".join([reason, *self.folder.log.last_lines(LOG_LINES)])
        self._pause_clock()

    def poll(self, timeout: float | None) -> None:
        """Looks whether the process has ended, or has run for more than ``timeout`` seconds."""
        assert self.process is not None
        self.read()
        if self.process.poll():
            code, self.process = self.process.code, None
            self.read()
            self.disconnect()
            reason = describe(code or 0) if code else self.shortfall()
            if reason:
                self.fail(reason)
            else:
                self.finish()
        elif timeout is not None and perf_counter() - self.process.began > timeout:
            self.fail(f"stopped after {timeout:g} s, the trial_timeout")

    def finish(self) -> None:
        """Ends the training well."""
        self.is_finished = True
        self.folder.note({"finished": True})
        self._pause_clock()

    def stop(self, keep: bool) -> None:
        """Ends the process, which may take a moment, and deletes the folder unless it is to be kept."""
        self._keep = keep
        if self.process is not None:
            # A program that waits for an answer ends by itself.
            self.process.stop(GRACE_SECONDS if self.answer(goes_on=False) else 0.0)
            self.disconnect()

    @property
    def has_stopped(self) -> bool:
        """Whether the process has ended after ``stop``."""
        if self.process is not None and not self.process.poll():
            return False
        if not self._keep:
            self.folder.remove()
        return True

    def kill(self) -> None:
        """Kills the process at once."""
        if self.process is not None:
            self.process.kill()

    @property
    def divergence(self) -> Report | None:
        """The first report with a metric that is not finite."""
        broken = (each for each in self.reports.values() if not all(map(isfinite, each.metrics.values())))
        return next(broken, None)

    def evaluation(self, report: Report | None) -> Evaluation:
        """The evaluation of a report, of a failure or, without a report, of the end.

        The reports up to that step are dropped.
        """
        is_end = report is None
        step, metrics = report or self.last or Report(0, {})
        diverged = None if all(map(isfinite, metrics.values())) else step
        self.reports = {each: report for each, report in self.reports.items() if each > step}
        return Evaluation(
            member=self.member,
            step=step,
            metrics=metrics if diverged is None else {},
            diverged_at=diverged,
            finished=is_end and self.is_finished,
            seconds=self._take_seconds(),
            failure=self.failure if is_end else None,
            total=self._total,
        )

    def _pause_clock(self) -> None:
        if self._began is not None:
            self._seconds += perf_counter() - self._began
            self._began = None

    def _take_seconds(self) -> float:
        """Wall time of the process since the last evaluation."""
        runs = self._began is not None
        self._pause_clock()
        seconds, self._seconds = self._seconds, 0.0
        if runs:
            self._began = perf_counter()
        return seconds

    def state(self) -> dict[str, Any]:
        """Plain values from which ``restore`` continues."""
        return {
            "reports": [[each.step, dict(each.metrics)] for each in self.reports.values()],
            "last": [self.last.step, dict(self.last.metrics)] if self.last else None,
            "finished": self.is_finished,
            "total": self._total,
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Continues from a state: from the checkpoint, or from the beginning if there is none."""
        self.reports = {step: Report(step, metrics) for step, metrics in saved["reports"]}
        self.last = Report(*saved["last"]) if saved["last"] else None
        self.is_finished, self._total = saved["finished"], saved["total"]
        for entry in () if self.is_finished else self.folder.entries():
            if "finished" in entry:
                self.is_finished = True
            elif not self.last or entry["step"] > self.last.step:
                self.last = self.reports[entry["step"]] = Report(entry["step"], entry["metrics"])
