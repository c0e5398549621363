"""A process that trains members, as the engine sees it."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from multiprocessing import Pipe
from multiprocessing.connection import wait
from typing import Any

from adamtune.engines.base import Member
from adamtune.engines.side_by_side.worker import PAUSE
from adamtune.engines.workers.process import describe
from adamtune.errors import AdamtuneError

TRAINER = "adamtune.engines.side_by_side.trainer:Trainer"
TICK_SECONDS = 0.02
"""How long answers are waited for before the engine asks whether to pause."""


class Process:
    """A running process of ``worker.py``. It ends when this one does.

    Args:
        host: the class whose methods are called there, as ``MODULE:CLASS``.
        environment: its environment; None for that of this process.

    Attributes:
        members: the members in training there, by their numbers.
        connection: the process answers through it.
    """

    def __init__(self, host: str = TRAINER, environment: Mapping[str, str] | None = None) -> None:
        self.members: dict[int, Member] = {}
        self.connection, theirs = Pipe()
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; from adamtune.engines.side_by_side.worker import main;"
            f" main({theirs.fileno()}, {host!r})"
        )
        # In a session of its own, so that Ctrl-C does not end it; what the task prints is no output of ours.
        self._popen = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=2,
            start_new_session=True,
            pass_fds=[theirs.fileno()],
            env=environment,
        )
        theirs.close()
        self._is_ready = False

    @property
    def is_ready(self) -> bool:
        """Whether it has begun to answer. Raises AdamtuneError if it has died."""
        if not self._is_ready and self.connection.poll():
            self.receive()
            self._is_ready = True
        return self._is_ready

    def send(self, *message: object) -> None:
        """Sends a message: the name of a method of ``Trainer`` and its arguments."""
        try:
            self.connection.send_bytes(pickle.dumps(message))
        except OSError as error:
            raise self._death() from error

    def receive(self) -> Any:
        """The answer to a message.

        Raises:
            AdamtuneError: the process has died.
            Exception: what the method raised.
        """
        succeeded, answer = self.answer()
        if not succeeded:
            raise answer
        return answer

    def answer(self) -> tuple[bool, Any]:
        """Whether the method succeeded, and its result or error. Raises AdamtuneError as ``receive``."""
        try:
            found: tuple[bool, Any] = pickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError) as error:
            raise self._death() from error
        return found

    def close(self) -> None:
        """Ends the process, whatever it does."""
        self._popen.kill()
        self._popen.wait()
        self.connection.close()

    @property
    def death(self) -> str:
        """Why the process has ended; it is killed if it has not."""
        self._popen.kill()
        code = self._popen.wait()
        return describe(code) + ("; the system may have run out of memory" if code == -9 else "")

    def _death(self) -> AdamtuneError:
        return AdamtuneError(
            f"a process that trained {len(self.members)} members ended: {self.death}. What was"
            " committed is kept: try again, with a smaller model or batch if it ends again."
        )


def ask(
    messages: Mapping[Process, tuple[object, ...]], pause: Callable[[], bool] = lambda: False
) -> list[Any]:
    """Sends a message to each process and waits for all answers, which are in the order of the processes.

    Args:
        messages: each process's message.
        pause: asked while waiting; once it returns True, the processes are told to pause.

    Raises:
        AdamtuneError: a process has died.
        Exception: what a process raised.
    """
    for process, message in messages.items():
        process.send(*message)
    answers: dict[Process, Any] = {}
    paused = False
    while len(answers) < len(messages):
        left = [process for process in messages if process not in answers]
        if not paused and pause():
            paused = True
            for process in left:
                process.send(*PAUSE)
        ready = wait([process.connection for process in left], TICK_SECONDS)
        answers |= {process: process.receive() for process in left if process.connection in ready}
    return [answers[process] for process in messages]
