"""The engine that trains members at the same time in processes, with the results of the sequential engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from time import perf_counter
from typing import Any

import torch

from adamtune.engines.base import Evaluation, Member
from adamtune.engines.sequential import Sequential
from adamtune.engines.side_by_side.process import Process, ask
from adamtune.engines.side_by_side.transport import files, load, pack, save
from adamtune.tasks.loaded import LoadedTask

START_SECONDS = 1.0
"""Seconds of training before the processes are started: about what starting one takes."""


class SideBySide:
    """An ``Engine`` that trains members in processes, with one thread each.

    Training begins in this process, so that a short search needs no other. When the processes have started,
    the members move there. Where a member is trained changes no bit of its results.

    Args:
        slots: members in training at once, at most.
        processes: processes at once.
        dtype: the precision of parameters and data; None leaves it to the model.
        start_seconds: seconds of training after which the processes are started.

    Attributes:
        slots: members in training at once, at most.
        moved: whether the processes train the members.
    """

    def __init__(
        self,
        slots: int,
        processes: int,
        dtype: torch.dtype | None = None,
        start_seconds: float = START_SECONDS,
    ) -> None:
        self.slots, self._count, self._dtype = slots, min(processes, slots), dtype
        self._left = start_seconds
        self._own = Sequential(slots, "cpu", dtype)
        self._members: dict[Member, int] = {}  # their numbers, in order of admission
        self._numbers = count()
        self._processes: list[Process] = []
        self.moved = False
        self._tasks: dict[LoadedTask, int] = {}
        self._data: set[str] = set()

    def admit(self, members: Sequence[Member]) -> None:
        """Puts members into free slots, at step 0. Raises ValueError if there are too few free slots."""
        if len(self._members) + len(members) > self.slots:
            raise ValueError(f"{len(members)} members for {self.slots - len(self._members)} free slots")
        self._members |= zip(members, self._numbers, strict=False)
        if self.moved:
            ask({process: ("admit", own) for process, own in self._distribute(members).items()})
        else:
            self._own.admit(members)

    def advance(self, pause: Callable[[], bool] = lambda: False) -> list[Evaluation]:
        """Trains every member to its next evaluation; see ``Engine.advance``."""
        self._start()
        began = perf_counter()
        evaluations = self._advance(pause) if self.moved else self._advance_here(pause)
        self._left -= perf_counter() - began
        for each in evaluations:
            if each.ends:
                del self._members[each.member]
        return evaluations

    def release(self, members: Sequence[Member]) -> None:
        """Frees the slots of members whose training ends here."""
        numbers = {self._members.pop(member) for member in members}
        if not self.moved:
            self._own.release(members)
            return
        gone = {each: numbers & each.members.keys() for each in self._processes}
        ask({process: ("release", list(own)) for process, own in gone.items() if own})
        for process, own in gone.items():
            for number in own:
                del process.members[number]

    def state(self) -> dict[str, Any]:
        """Each member's state, in the form of the sequential engine's."""
        if not self.moved:
            return self._own.state()
        with files(len(self._processes)) as paths:
            ask({each: ("state", path) for each, path in zip(self._processes, paths, strict=True)})
            found = {number: state for path in paths for number, state in load(path).items()}
        return {"members": [found[number] for number in self._members.values()]}

    def restore(self, members: Sequence[Member], state: Mapping[str, Any]) -> None:
        """Replaces all members by those of a state; see ``Engine.restore``."""
        self._members = dict(zip(members, self._numbers, strict=False))
        if not self.moved:
            self._own.restore(members, state)
            return
        own: dict[Process, dict[int, tuple[Member, int]]]
        states = dict(zip(self._members.values(), state["members"], strict=True))
        for process in self._processes:
            process.members.clear()
        own = {process: {} for process in self._processes} | self._distribute(members)
        with files(len(own)) as paths:
            for path, of in zip(paths, own.values(), strict=True):
                save([states[number] for number in of], path)
            ask({each: ("restore", own[each], path) for each, path in zip(own, paths, strict=True)})

    def close(self) -> None:
        """Ends the processes."""
        for process in self._processes:
            process.close()

    def _start(self) -> None:
        """Starts the processes if it is time, and moves the members there when all are ready."""
        if self.moved or self._left > 0:
            return
        if not self._processes:
            self._processes = [Process() for _ in range(self._count)]
        if all(each.is_ready for each in self._processes):
            ask(dict.fromkeys(self._processes, ("start", self._dtype, torch.get_default_dtype())))
            members, state = list(self._members), self._own.state()
            self._own.release(members)
            self.moved = True
            self.restore(members, state)

    def _advance_here(self, pause: Callable[[], bool]) -> list[Evaluation]:
        with _one_thread():  # as in the processes: the threads of an operation decide its rounding
            return self._own.advance(pause)

    def _advance(self, pause: Callable[[], bool]) -> list[Evaluation]:
        busy = [each for each in self._processes if each.members]
        if not all(ask(dict.fromkeys(busy, ("train",)), pause)):
            return []
        # None is scored before all have trained: after a pause, none may be past its evaluation.
        answers = ask(dict.fromkeys(busy, ("evaluate",)))
        found = {number: each for own in answers for number, each in own}
        for process in busy:
            process.members = {
                number: each for number, each in process.members.items() if not found[number].ends
            }
        return [found[number]._replace(member=member) for member, number in self._members.items()]

    def _distribute(self, members: Sequence[Member]) -> dict[Process, dict[int, tuple[Member, int]]]:
        """Gives each member to the process with the fewest; the members as ``Trainer.admit`` takes them."""
        found: dict[Process, dict[int, tuple[Member, int]]] = {}
        for member in members:
            process, number = min(self._processes, key=lambda each: len(each.members)), self._members[member]
            process.members[number] = member
            without: Member = replace(member, task=None)  # type: ignore[arg-type]
            found.setdefault(process, {})[number] = without, self._task(member.task)
        return found

    def _task(self, task: LoadedTask) -> int:
        """The number of a task, which all processes know afterwards."""
        if task not in self._tasks:
            if task.data_hash not in self._data:
                with files() as [path]:
                    save((task.train, task.validation, task.test), path)
                    ask(dict.fromkeys(self._processes, ("data", task.data_hash, path)))
                self._data.add(task.data_hash)
            self._tasks[task] = len(self._tasks)
            ask(dict.fromkeys(self._processes, ("task", self._tasks[task], pack(task))))
        return self._tasks[task]


@contextmanager
def _one_thread() -> Iterator[None]:
    """While it is entered, torch's operations have one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
