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
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any

from adamtune.engines.distributed.base import Call
from adamtune.errors import origin

if TYPE_CHECKING:
    from adamtune.engines.distributed.host import Host


def main(descriptor: int) -> None:
    """Answers messages: calls of the methods of a ``Host``.

    Args:
        descriptor: the number of the connection's file descriptor.
    """
    for each in (signal.SIGINT, signal.SIGTERM):  # which may be sent to a whole job: the search decides
        signal.signal(each, signal.SIG_IGN)
    connection = Connection(descriptor)
    messages: SimpleQueue[bytes] = SimpleQueue()
    Thread(target=_read, args=(connection, messages), daemon=True).start()
    from adamtune.engines.distributed.host import Host

    host = Host()
    while True:
        answered = pickle.dumps(answer(host, pickle.loads(messages.get())))
        with suppress(OSError):  # the search has ended: so does this process, in its other thread
            connection.send_bytes(answered)


def answer(host: Host, calls: Sequence[Call]) -> tuple[bool, Any]:
    """Whether calls succeeded, and the result of the last or the error."""
    try:
        return True, host.turn(calls)
    except Exception as error:
        return False, _portable(error)


def _read(connection: Connection, messages: SimpleQueue[bytes]) -> None:
    while True:
        try:
            messages.put(connection.recv_bytes())
        except (EOFError, OSError):
            os.kill(os.getpid(), signal.SIGKILL)  # the search has ended


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
