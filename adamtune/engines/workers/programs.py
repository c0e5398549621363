"""The two kinds of trainings of the engine of workers: functions and commands."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from selectors import EVENT_READ, BaseSelector
from socket import socket, socketpair
from typing import Any

from typing_extensions import override

from adamtune.engines.base import Member
from adamtune.engines.workers.process import CHUNK, Guard, Process
from adamtune.engines.workers.reports import Report, ReportReader
from adamtune.engines.workers.training import Training
from adamtune.tasks.program import command_values, fill

REPORT, CHECKPOINT, SETTINGS = "ADAMTUNE_REPORT", "ADAMTUNE_CHECKPOINT", "ADAMTUNE_SETTINGS"
"""Environment variables of a command: the file of its reports, the folder of its checkpoint, its settings."""


def _call(folder: Path, descriptor: int) -> str:
    """The Python code that calls ``function.main``, with the same modules as this process.

    The folder of the function is not among the paths at first: it may have modules named as standard ones.
    """
    paths = [os.path.abspath(each) for each in sys.path if os.path.abspath(each) != os.path.abspath(folder)]
    return (
        f"import sys; sys.path[:] = {paths!r}; from adamtune.engines.workers.function import main;"
        f" main({descriptor})"
    )


class Function(Training):
    """A training that is a user's function; ``function.py`` calls it."""

    def __init__(self, member: Member, parent: Path) -> None:
        super().__init__(member, parent)
        self._channel: socket | None = None
        self._received = b""
        self._is_waiting = self._is_done = False

    @override
    def launch(self, guard: Guard, selector: BaseSelector, environment: Mapping[str, str]) -> Process:
        self._received, self._is_waiting, self._is_done = b"", False, False
        self._channel, other = socketpair()
        arguments = [sys.executable, "-c", _call(self.program.folder, other.fileno())]
        # Sets of text have another order in each process otherwise.
        environment = {**environment, "PYTHONHASHSEED": str(self.seed)}
        out = self.folder.log.write
        with other:
            process = Process(arguments, environment, self.program.folder, guard, selector, out, out, other)
        self._send(
            {
                "function": self.program.function,
                "settings": self.values,
                "seed": self.seed,
                "folder": str(self.folder.checkpoint),
            }
        )
        self._channel.setblocking(False)
        self._selector = selector
        selector.register(self._channel, EVENT_READ, self.read)
        return process

    @override
    def read(self) -> None:
        try:
            while self._channel is not None and (data := self._channel.recv(CHUNK)):
                *lines, self._received = (self._received + data).split(b"\n")
                for line in lines:
                    self._receive(json.loads(line))
        except BlockingIOError:
            return
        except ConnectionError:
            pass
        self.disconnect()

    def _receive(self, message: Mapping[str, Any]) -> None:
        self._is_waiting = True
        if "step" in message and self.accept(Report(message["step"], message["metrics"])):
            return  # it is answered when the search has judged it
        if "total" in message:
            self.set_total(message["total"])
        self._is_done = self._is_done or "finished" in message
        self.answer(goes_on=True)

    @override
    def answer(self, goes_on: bool) -> bool:
        waited, self._is_waiting = self._is_waiting, False
        if waited:
            self._send(goes_on)
        return waited

    def _send(self, message: Any) -> None:
        try:
            assert self._channel is not None
            self._channel.sendall(json.dumps(message).encode() + b"\n")
        except OSError:  # the process has ended, which is seen elsewhere
            pass

    @override
    def disconnect(self) -> None:
        if self._channel is not None:
            self._selector.unregister(self._channel)
            self._channel.close()
            self._channel = None

    @override
    def shortfall(self) -> str:
        return super().shortfall() if self._is_done else "the process ended before the function returned"


class Command(Training):
    """A training that is a command, which prints its reports or writes them to a file."""

    def __init__(self, member: Member, parent: Path) -> None:
        super().__init__(member, parent)
        self._report_file = self.folder.path / "report.jsonl"

    @override
    def launch(self, guard: Guard, selector: BaseSelector, environment: Mapping[str, str]) -> Process:
        self._printed, self._written = self._reader(), self._reader()
        self._offset = 0
        self._report_file.touch()
        values = command_values(self.values, self.seed, self.member.trial)
        environment = {
            **environment,
            REPORT: str(self._report_file),
            CHECKPOINT: str(self.folder.checkpoint),
            SETTINGS: json.dumps(values),
        }
        assert self.program.command is not None
        arguments = fill(self.program.command, values)
        return Process(
            arguments, environment, self.program.folder, guard, selector, self._print, self.folder.log.write
        )

    def _reader(self) -> ReportReader:
        return ReportReader(self.program.metrics, self.folder.log.write)

    def _print(self, data: bytes) -> None:
        self._accept_all(self._printed.feed(data))

    def _accept_all(self, reports: list[Report]) -> None:
        for each in reports:
            self.accept(each)

    @override
    def read(self) -> None:
        has_ended = self.process is None
        with self._report_file.open("rb") as file:
            size = file.seek(0, 2)
            self._offset = file.seek(self._offset if self._offset <= size else 0)
            while data := file.read(CHUNK):
                self._offset += len(data)
                self._accept_all(self._written.feed(data))
        if has_ended:
            self._accept_all([*self._printed.finish(), *self._written.finish()])


def training(member: Member, parent: Path) -> Training:
    """The training of a member, whose task is a ``Program``."""
    is_function = getattr(member.task, "function", None) is not None
    return (Function if is_function else Command)(member, parent)
