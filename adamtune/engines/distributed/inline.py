"""A worker in this process, which continues what several workers had in training."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adamtune.engines.distributed.base import Call, Shared
from adamtune.engines.distributed.host import Host


class InlineWorker:
    """A ``Worker`` without a process: it answers when it is asked for the answer."""

    def __init__(self) -> None:
        self._host = Host()
        self._messages: deque[Sequence[Call]] = deque()

    def send(self, calls: Sequence[Call]) -> None:
        """Takes calls; see ``Worker.send``."""
        self._messages.append(calls)

    @property
    def is_asked(self) -> bool:
        """Whether it has messages."""
        return bool(self._messages)

    def receive(self) -> tuple[bool, Any]:
        """The next answer. What the calls raise is raised here."""
        return True, self._host.turn(self._messages.popleft())

    def close(self) -> None:
        """Ends its processes."""
        self._host.close()


@dataclass(frozen=True)
class Value:
    """A value of this process."""

    value: Any

    def load(self) -> Any:
        """The value."""
        return self.value


class InlinePool:
    """A ``Pool`` whose workers are in this process."""

    replaces = True

    def __init__(self, count: int = 1) -> None:
        self.count = count
        self._started: dict[int, InlineWorker] = {}

    def start(self, index: int) -> InlineWorker:
        """A worker."""
        self._started[index] = InlineWorker()
        return self._started[index]

    def wait(self, timeout: float) -> Sequence[int]:
        """The workers that have messages: each answers at once."""
        return [index for index, each in self._started.items() if each.is_asked]

    def share(self, value: Any) -> Shared:
        """The value as it is."""
        return Value(value)

    def room(self) -> str:
        """Nothing is known; see ``Pool.room``."""
        return ""

    def close(self) -> None:
        """Nothing is left to end."""
