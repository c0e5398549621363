"""Processes that a search starts and ends: each with all processes that it starts itself."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from selectors import EVENT_READ, BaseSelector
from socket import socket
from time import perf_counter
from typing import IO

from adamtune.engines.workers import guard
from adamtune.engines.workers.guard import MARK, kill

GRACE_SECONDS = 5.0
"""A process gets SIGTERM, and SIGKILL so much later."""
CHUNK = 2**16
MOST_CHUNKS = 64
"""Reads of what a process that ended has left in a pipe: more than a pipe holds."""


class Guard:
    """The process that kills all processes of this search if the search dies; see ``guard.py``.

    Attributes:
        mark: what the marks of the search's processes begin with.
    """

    def __init__(self) -> None:
        self.mark = secrets.token_hex(8)
        # In a session of its own, so that Ctrl-C does not end it.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, self.mark],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def tell(self, sign: str, group: int) -> None:
        """Tells of a process group that started (``+``) or ended (``-``)."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(f"{sign}{group}\n".encode())
            self._process.stdin.flush()

    def close(self) -> None:
        """Ends the guard, which kills what is left."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()


Read = Callable[[bytes], object]
"""Takes output of a process."""


class Process:
    """A running process in a process group of its own.

    Args:
        arguments: the program and its arguments.
        environment: its environment variables.
        folder: the folder in which it runs.
        guard: the guard of the search.
        selector: tells which output can be read.
        out: takes what it prints on stdout.
        err: takes what it prints on stderr.
        channel: the end of a socket that the process gets.

    Raises:
        OSError: there is no such program, or it cannot be started.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        guard: Guard,
        selector: BaseSelector,
        out: Read,
        err: Read,
        channel: socket | None = None,
    ) -> None:
        self._guard, self._selector = guard, selector
        self._mark = f"{guard.mark}.{secrets.token_hex(8)}"
        self._popen = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env={**environment, MARK: self._mark},
            start_new_session=True,
            pass_fds=[channel.fileno()] if channel else [],
        )
        guard.tell("+", self._popen.pid)
        assert self._popen.stdout is not None
        assert self._popen.stderr is not None
        self._outputs: dict[IO[bytes], Read] = {self._popen.stdout: out, self._popen.stderr: err}
        for output in self._outputs:
            os.set_blocking(output.fileno(), False)
            selector.register(output, EVENT_READ, lambda output=output: self._read(output))
        self.began = perf_counter()
        self.code: int | None = None
        self._signals: list[tuple[float, signal.Signals]] = []

    @property
    def is_silent(self) -> bool:
        """Whether it has closed its output, as when it is about to end."""
        return not self._outputs

    def _read(self, output: IO[bytes]) -> bool:
        """Passes on what can be read from an output; whether there may be more."""
        try:
            data = os.read(output.fileno(), CHUNK)
        except BlockingIOError:
            return False
        if data:
            self._outputs[output](data)
        else:
            self._close(output)
        return bool(data)

    def _close(self, output: IO[bytes]) -> None:
        self._selector.unregister(output)
        output.close()
        del self._outputs[output]

    def stop(self, grace: float = 0.0) -> None:
        """Ends it with its group after ``grace`` seconds: by SIGTERM, ``GRACE_SECONDS`` later by SIGKILL."""
        if not self._signals:
            term = perf_counter() + grace
            self._signals = [(term, signal.SIGTERM), (term + GRACE_SECONDS, signal.SIGKILL)]

    def poll(self) -> bool:
        """Whether it has ended; then ``code`` is set, its output is read, and its group is killed."""
        while self._signals and perf_counter() >= self._signals[0][0]:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, self._signals.pop(0)[1])
        if self.code is None and (code := self._popen.poll()) is not None:
            self._end(code)
        return self.code is not None

    def kill(self) -> None:
        """Kills it with all processes that it has started."""
        if self.code is None:
            kill([self._popen.pid], self._mark)
            self._end(self._popen.wait())

    def _end(self, code: int) -> None:
        kill([self._popen.pid], self._mark)
        self._guard.tell("-", self._popen.pid)
        for output in list(self._outputs):
            for _ in range(MOST_CHUNKS):
                if not self._read(output):
                    break
            if output in self._outputs:  # a process that left the group holds it
                self._close(output)
        self.code = code


def describe(code: int) -> str:
    """An exit code as people know it."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
