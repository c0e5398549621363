"""The program of a process that trains members for another process.

Its reader thread takes messages from a connection, and ends the process when the other side has gone. It runs
before torch is imported, which takes a while.
"""

from __future__ import annotations

import os
import pickle
import signal
import traceback
from collections.abc import Sequence
from importlib import import_module
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

from adamtune.errors import origin

PAUSE = ("pause",)
"""The message that stops training at the next step; it has no answer."""


def main(descriptor: int, host: str) -> None:
    """Answers messages: the name of a method and its arguments each.

    Args:
        descriptor: the number of the connection's file descriptor.
        host: the class that has the methods, as ``MODULE:CLASS``; its attribute ``paused`` is set at a pause.
    """
    for each in (signal.SIGINT, signal.SIGTERM):  # which may be sent to a whole job: the search decides
        signal.signal(each, signal.SIG_IGN)
    connection, paused = Connection(descriptor), Event()
    messages: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
    Thread(target=_read, args=(connection, messages, paused), daemon=True).start()
    module, _, name = host.partition(":")
    made = getattr(import_module(module), name)()
    made.paused = paused
    connection.send_bytes(pickle.dumps((True, "ready")))
    while True:
        connection.send_bytes(pickle.dumps(answer(made, messages.get())))


def answer(host: Any, message: Sequence[Any]) -> tuple[bool, Any]:
    """Whether a message succeeded, and its result or error."""
    name, *arguments = message
    try:
        return True, getattr(host, name)(*arguments)
    except Exception as error:
        return False, _portable(error)


def _read(connection: Connection, messages: SimpleQueue[tuple[Any, ...]], paused: Event) -> None:
    while True:
        try:
            message = pickle.loads(connection.recv_bytes())
        except (EOFError, OSError):
            os.kill(os.getpid(), signal.SIGKILL)  # the search has ended
        if message == PAUSE:
            paused.set()
        else:
            paused.clear()
            messages.put(message)


def _portable(error: Exception) -> Exception:
    """The error for another process, with its place in the user's code and its traceback."""
    place, trace = origin(error), "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.raised_at = place  # type: ignore[attr-defined]
    error.add_note(trace)
    return error
