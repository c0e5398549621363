"""The interface between the engine and its workers. Torch-free to import."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Call = tuple[Any, ...]
"""The name of a method of ``Host`` and its arguments."""


class WorkerDied(Exception):
    """A worker has ended; the text says why."""


class Shared(Protocol):
    """A value that workers can get, which is sent once."""

    def load(self) -> Any:
        """The value, in a worker."""


class Worker(Protocol):
    """A process that has a ``Host``. It takes messages in order and answers each."""

    def send(self, calls: Sequence[Call]) -> None:
        """Sends calls, whose answer is that of the last. It does not wait. Raises WorkerDied."""

    def receive(self) -> tuple[bool, Any]:
        """The next answer: whether the calls succeeded, and the result or the error. Raises WorkerDied."""

    def close(self) -> None:
        """Ends the process, whatever it does."""


class Pool(Protocol):
    """Starts workers.

    Attributes:
        count: workers at once.
        replaces: whether a worker that has died is always replaced at once. Where it is not, because its node
            is lost, its members go to other workers.
    """

    count: int
    replaces: bool

    def start(self, index: int) -> Worker:
        """Starts the worker of a place, which may take a while."""

    def wait(self, timeout: float) -> Sequence[int]:
        """Waits for answers, or deaths, which ``receive`` returns at once.

        Args:
            timeout: seconds to wait at most.

        Returns:
            The places whose workers have answered or died; empty if none has.
        """

    def share(self, value: Any) -> Shared:
        """Makes a value known to workers to come."""

    def room(self) -> str:
        """What a worker that does not start waits for, for people; empty where it is not known."""

    def close(self) -> None:
        """Ends what the pool has started."""


@dataclass(frozen=True)
class WorkerStatus:
    """What a worker does, for people.

    Attributes:
        name: its number, from 0, and where it is.
        state: "starting", "training" or "idle".
        members: members in training there.
        evaluations: evaluations that it has made.
        utilisation: the part of its time that it has trained.
        lost: workers of this place that have died.
    """

    name: str
    state: str
    members: int
    evaluations: int
    utilisation: float
    lost: int
