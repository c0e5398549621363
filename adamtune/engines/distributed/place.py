"""A worker as the engine sees it: what it trains, and from where others could go on if it dies."""

from __future__ import annotations

from collections import deque
from math import inf
from time import perf_counter
from typing import Any

from adamtune.engines.base import Member
from adamtune.engines.distributed.base import Call, Pool, Worker, WorkerStatus
from adamtune.engines.distributed.batch import Batch, State, beginning

QUICK_SECONDS = 0.1
"""A worker that answers so soon gets its next message before: it trains on while its answer is heard."""
IDLE_SECONDS = 1.0
"""A worker that waits for less counts as training: the next members are about to come."""


class Place:
    """A worker, and those that replace it after its death.

    Args:
        index: its number, from 0.
        pool: starts the workers.
        independent: whether members are trained one after the other.

    Attributes:
        index: its number, from 0.
        members: the members in training there, by number, in order of admission.
        parts: the members and the state of each of its engines, when it was asked last.
        asked: when that was.
        trainings: messages to train that it has not answered.
        is_ready: whether the worker has started.
        node: the machine where it is.
        known: what it has got: the numbers of tasks, and the hashes of data.
        failed_starts: workers that died one after the other before they had started.
        evaluations: evaluations that it has made.
        lost: workers that have died.
    """

    def __init__(self, index: int, pool: Pool, independent: bool) -> None:
        self.index, self._pool, self._independent = index, pool, independent
        self.members: dict[int, Member] = {}
        self.failed_starts = self.evaluations = self.lost = 0
        self.node = ""
        self._busy, self._since = 0.0, -inf
        self.began = perf_counter()
        self.start()

    def start(self) -> None:
        """Starts a worker without members."""
        self.worker: Worker = self._pool.start(self.index)
        self.members = {}
        self.parts: list[tuple[dict[int, Member], State]] = []
        self.asked = perf_counter()
        self.is_ready = self._is_quick = False
        self.trainings = 0
        self.known: set[object] = set()
        self._calls: list[Call] = []
        self._awaited: deque[tuple[str, dict[int, Member]]] = deque()

    @property
    def is_awaited(self) -> bool:
        """Whether an answer is to come."""
        return bool(self._awaited)

    def call(self, name: str, *arguments: Any) -> None:
        """Adds a call to the next message."""
        self._calls.append((name, *arguments))

    def flush(self) -> None:
        """Sends the calls. Raises WorkerDied."""
        if self._calls:
            calls, self._calls = self._calls, []
            name = calls[-1][0]
            self._awaited.append((name, dict(self.members) if name == "state" else {}))
            self.worker.send(calls)

    @property
    def takes_members(self) -> bool:
        """Whether members may be given to it now."""
        return self.is_ready and (self._independent or not self.is_awaited)

    @property
    def takes_training(self) -> bool:
        """Whether it has members, and trains less than it may be told to in advance."""
        if self._independent:
            return bool(self.members) and self.trainings <= self._is_quick
        return bool(self.members) and not self.is_awaited

    def train(self, seconds: float, ahead: float) -> None:
        """Tells it to train; arguments as ``Host.advance``. Raises WorkerDied."""
        if not self.trainings:
            self._since = perf_counter()
        self.trainings += 1
        self.call("advance", seconds, ahead)
        self.flush()

    def receive(self) -> list[tuple[int, Any]]:
        """Takes the next answer; the evaluations in it, with the numbers of the members.

        Raises:
            WorkerDied: the worker has died.
            Exception: what the worker raised.
        """
        succeeded, answer = self.worker.receive()
        name, members = self._awaited.popleft()
        self.trainings -= name == "advance"
        if not succeeded:
            raise answer
        if name == "begin":
            self.is_ready, self.node, self.failed_starts = True, answer, 0
            self.began = perf_counter()
            self._busy, self._since = 0.0, -inf
        elif name == "state":
            self.parts = [({each: members[each] for each in numbers}, state) for numbers, state in answer]
        elif name == "advance":
            now = perf_counter()
            self._busy += now - self._since
            self._is_quick, self._since = now - self._since < QUICK_SECONDS, now
            return list(answer)
        return []

    def ask_state(self) -> None:
        """Asks for the state of its members."""
        self.call("state")
        self.asked = perf_counter()
        self.flush()

    @property
    def is_stale(self) -> bool:
        """Whether a state that it has given has members that are in training no more."""
        return any(
            len(members) > 1 and any(number not in self.members for number in members)
            for members, _ in self.parts
        )

    def batches(self) -> list[Batch]:
        """Its members, from where they can go on elsewhere."""
        index = self.index if self._pool.replaces else None
        found = []
        left = dict(self.members)
        for members, state in self.parts:
            gone = members.keys() - self.members.keys()
            if len(gone) < len(members):
                found.append(Batch(members, set(gone), state, index))
            for number in members:
                left.pop(number, None)
        return found + beginning(left.items(), self._independent, index)

    def status(self) -> WorkerStatus:
        """What it does, for people."""
        now = perf_counter()
        busy = self._busy + (now - self._since if self.trainings else 0.0)
        part = min(1.0, busy / max(now - self.began, 1e-9)) if self.is_ready else 0.0
        state = "training" if self.trainings or now - self._since < IDLE_SECONDS else "idle"
        name = f"{self.index} {self.node}".rstrip()
        return WorkerStatus(
            name,
            state if self.is_ready else "starting",
            len(self.members),
            self.evaluations,
            part,
            self.lost,
        )
