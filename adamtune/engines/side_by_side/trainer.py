"""What a process trains: members of tasks, one after the other in one thread."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event

import torch

from adamtune.engines.base import Evaluation, Member
from adamtune.engines.sequential import Sequential
from adamtune.engines.side_by_side.transport import PackedTask, load, save
from adamtune.tasks.base import Rows
from adamtune.tasks.loaded import LoadedTask


class Trainer:
    """The members of this process. Its methods are the messages that it answers.

    Members and tasks have numbers, which the other side gives.

    Attributes:
        paused: whether training is to stop at the next step.
    """

    paused: Event

    def __init__(self) -> None:
        self._data: dict[str, tuple[Rows, Rows, Rows | None]] = {}
        self._tasks: dict[int, LoadedTask] = {}
        self._members: dict[int, Member] = {}

    def start(self, dtype: torch.dtype | None, default_dtype: torch.dtype) -> None:
        """Makes the engine, of a precision."""
        torch.set_num_threads(1)
        torch.set_default_dtype(default_dtype)
        self._engine = Sequential(sys.maxsize, "cpu", dtype)

    def data(self, data_hash: str, path: Path) -> None:
        """Loads the data of tasks to come."""
        self._data[data_hash] = load(path)

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
        return self._engine.train(self.paused.is_set)

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

    def state(self, path: Path) -> None:
        """Writes the states of all members, by their numbers, to a file."""
        save(dict(zip(self._members, self._engine.state()["members"], strict=True)), path)

    def restore(self, members: Mapping[int, tuple[Member, int]], path: Path) -> None:
        """Replaces all members by those whose states a file has, in the same order."""
        self._engine.release(list(self._members.values()))
        self._members.clear()
        self.admit(members)
        self._engine.restore(list(self._members.values()), {"members": load(path)})
