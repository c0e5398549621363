"""The program of a process that trains members, one after the other in one thread, for another process.

Its reader thread takes messages from a connection, and ends the process when the other side has gone.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

import torch

from adamtune.engines.base import Evaluation, Member
from adamtune.engines.sequential import Sequential
from adamtune.engines.side_by_side.transport import PackedTask, load_data
from adamtune.errors import origin
from adamtune.tasks.base import Rows
from adamtune.tasks.loaded import LoadedTask

PAUSE = ("pause",)
"""The message that stops training at the next step; it has no answer."""


class Trainer:
    """The members of this process. Its methods are the messages that it answers.

    Members and tasks have numbers, which the other side gives.
    """

    def __init__(self, paused: Event) -> None:
        self._paused = paused
        self._data: dict[str, tuple[Rows, Rows]] = {}
        self._tasks: dict[int, LoadedTask] = {}
        self._members: dict[int, Member] = {}

    def start(self, dtype: torch.dtype | None, default_dtype: torch.dtype) -> None:
        """Makes the engine, of a precision."""
        torch.set_num_threads(1)
        torch.set_default_dtype(default_dtype)
        self._engine = Sequential(sys.maxsize, "cpu", dtype)

    def data(self, data_hash: str, path: Path) -> None:
        """Loads the data of tasks to come."""
        self._data[data_hash] = load_data(path)

    def task(self, number: int, packed: PackedTask) -> None:
        """Takes a task."""
        self._tasks[number] = packed.unpack(*self._data[packed.data_hash])

    def admit(self, members: Mapping[int, tuple[Member, int]]) -> None:
        """Admits members, given without their tasks but with the numbers of these."""
        own = {number: replace(each, task=self._tasks[task]) for number, (each, task) in members.items()}
        self._members |= own
        self._engine.admit(list(own.values()))

    def train(self) -> bool:
        """Trains to the next evaluations, or to the next pause; whether they are reached."""
        return self._engine.train(self._paused.is_set)

    def evaluate(self) -> list[tuple[int, Evaluation]]:
        """The evaluations, each with the number of its member and without the member."""
        found = dict(zip(list(self._members), self._engine.evaluate(), strict=True))
        for number, each in found.items():
            if each.ends:
                del self._members[number]
        return [(number, each._replace(member=None)) for number, each in found.items()]  # type: ignore[arg-type]

    def release(self, numbers: Sequence[int]) -> None:
        """Frees the slots of members."""
        self._engine.release([self._members.pop(number) for number in numbers])

    def state(self) -> list[tuple[int, Any]]:
        """The state of each member, with its number."""
        return list(zip(self._members, self._engine.state()["members"], strict=True))

    def restore(self, members: Mapping[int, tuple[Member, int]], states: Sequence[Any]) -> None:
        """Replaces all members by those of a state."""
        self._engine.release(list(self._members.values()))
        self._members.clear()
        self.admit(members)
        self._engine.restore(list(self._members.values()), {"members": states})


def main(descriptor: int) -> None:
    """Answers messages: a tuple of a method's name and its arguments each.

    Args:
        descriptor: the number of the connection's file descriptor.
    """
    connection, paused = Connection(descriptor), Event()
    messages: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
    Thread(target=_read, args=(connection, messages, paused), daemon=True).start()
    trainer = Trainer(paused)
    connection.send_bytes(pickle.dumps((True, "ready")))
    while True:
        name, *arguments = messages.get()
        try:
            answer = True, getattr(trainer, name)(*arguments)
        except Exception as error:
            answer = False, _portable(error)
        connection.send_bytes(pickle.dumps(answer))


def _read(connection: Connection, messages: SimpleQueue[tuple[Any, ...]], paused: Event) -> None:
    while True:
        try:
            message = pickle.loads(connection.recv_bytes())
        except (EOFError, OSError):
            os._exit(1)  # the search has ended
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
