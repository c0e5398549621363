"""What happens when a worker dies: another takes its place, and its members wait for a worker again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from adamtune.engines.distributed.base import Call, WorkerDied
from adamtune.engines.distributed.place import Place
from adamtune.engines.distributed.placement import Placement
from adamtune.errors import AdamtuneError

MOST_DEATHS = 3
"""So many workers may die one after the other with a member that makes no progress."""


class Recovery:
    """Starts workers, and others in the places of those that have died.

    The members of a worker that has died go on elsewhere, from the state that it has given last.

    Args:
        begin: the first call of a worker.
        placement: gives the members to other workers.
    """

    def __init__(self, begin: Call, placement: Placement) -> None:
        self._begin, self._placement = begin, placement
        self._deaths: dict[int, int] = {}  # of workers, since a member's last evaluation
        self._events: list[str] = []

    def start(self, place: Place) -> None:
        """Tells a new worker how members are trained."""
        place.call(*self._begin)
        with self.watch(place):
            place.flush()

    def restart(self, place: Place) -> None:
        """Replaces a worker by one without members."""
        place.worker.close()
        place.start()
        self.start(place)

    @contextmanager
    def watch(self, place: Place) -> Iterator[None]:
        """While it is entered, a worker that dies is replaced.

        Raises:
            AdamtuneError: it would not help, because several died one after the other.
        """
        try:
            yield
        except WorkerDied as death:
            self._replace(place, str(death))

    def forget(self, number: int) -> None:
        """Forgets the deaths with a member, which has made an evaluation or is gone."""
        self._deaths.pop(number, None)

    def events(self) -> list[str]:
        """What has happened to workers since the last call, a line each."""
        found, self._events = self._events, []
        return found

    def _replace(self, place: Place, reason: str) -> None:
        place.lost += 1
        place.failed_starts += not place.is_ready
        for number in place.members:
            self._deaths[number] = self._deaths.get(number, 0) + 1
        deaths = max([place.failed_starts, *(self._deaths[number] for number in place.members)])
        if deaths >= MOST_DEATHS:
            raise AdamtuneError(_in_vain(deaths, len(place.members), reason))
        on = f": its {len(place.members)} trainings go on from their last states" if place.members else ""
        self._events.append(f"worker {place.index} died, {reason}{on}")
        self._placement.waiting = place.batches() + self._placement.waiting
        self.restart(place)


def _in_vain(deaths: int, members: int, reason: str) -> str:
    """What is said when no other worker is started."""
    what, advice = "before they had begun", "mend that, then try again"
    if members:
        what = f"with {members} members in training"
        advice = "try again, with fewer members at a time (population), or a smaller model or batch"
        advice += ", if they die again"
    return (
        f"{deaths} workers died one after the other {what}, the last one so: {reason}. What was committed is"
        f" kept: {advice}."
    )
