"""The engine that trains members at the same time in processes, with the results of the sequential engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import torch

from adamtune.engines.base import Evaluation, Member
from adamtune.engines.distributed.engine import MOVED, Distributed
from adamtune.engines.distributed.local import LocalPool
from adamtune.engines.plan import Plan
from adamtune.engines.sequential import Sequential

START_SECONDS = 1.0
"""Seconds of training before the processes are started: about what starting one takes."""


class SideBySide:
    """An ``Engine`` that trains members in processes, with one thread each.

    Training begins in this process, so that a short search needs no other. When the processes have started,
    the members move there. Where a member is trained changes no bit of its results.

    Args:
        slots: members in training at once, at most.
        processes: processes at once.
        start_seconds: seconds of training after which the processes are started.

    Attributes:
        slots: members in training at once, at most.
        moved: whether the processes train the members.
    """

    def __init__(self, slots: int, processes: int, start_seconds: float = START_SECONDS) -> None:
        self.slots, self._count = slots, min(processes, slots)
        self._left = start_seconds
        self._own = Sequential(slots)
        self._pool: LocalPool | None = None
        self.moved = False

    def admit(self, members: Sequence[Member]) -> None:
        """Puts members into free slots, at step 0. Raises ValueError if there are too few free slots."""
        self._engine.admit(members)

    def advance(self, pause: Callable[[], bool] = lambda: False) -> list[Evaluation]:
        """Trains every member to its next evaluation; see ``Engine.advance``."""
        if not self.moved and self._left <= 0:
            self._start()
        if self.moved:
            return self._workers.advance(pause)
        began = perf_counter()
        with _one_thread():  # as in the processes: the threads of an operation decide its rounding
            found = self._own.advance(pause)
        self._left -= perf_counter() - began
        return found

    def release(self, members: Sequence[Member]) -> None:
        """Frees the slots of members whose training ends here."""
        self._engine.release(members)

    def state(self) -> dict[str, Any]:
        """The state of the sequential engine, or of the workers."""
        return {MOVED: self._workers.state()} if self.moved else self._own.state()

    def restore(self, members: Sequence[Member], state: Mapping[str, Any]) -> None:
        """Replaces all members by those of a state; see ``Engine.restore``."""
        if MOVED in state:
            self._open()
            self.moved = True
        self._engine.restore(members, state)

    def close(self) -> None:
        """Ends the processes."""
        if self._pool is not None:
            self._workers.close()
            self._pool.close()

    @property
    def _engine(self) -> Sequential | Distributed:
        return self._workers if self.moved else self._own

    def _start(self) -> None:
        """Starts the processes, and moves the members there when all are ready."""
        self._open()
        if self._workers.begin():
            members = self._own.members
            self._workers.restore(members, self._own.state())
            self._own.release(members)
            self.moved = True

    def _open(self) -> None:
        if self._pool is None:
            self._pool = LocalPool(self._count, 1, 0.0)
            plan = Plan("sequential", -(-self.slots // self._count), 1, "cpu", "")
            self._workers = Distributed(self._pool, plan, rounds=True)


@contextmanager
def _one_thread() -> Iterator[None]:
    """While it is entered, torch's operations have one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
