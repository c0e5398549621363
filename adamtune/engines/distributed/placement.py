"""Which worker trains which members: those that wait go to the worker with the fewest."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from adamtune.engines.distributed.batch import Batch
from adamtune.engines.distributed.place import Place
from adamtune.engines.distributed.tasks import Tasks


class Placement:
    """The members that wait for a worker, and the workers that can take some.

    Args:
        places: the workers.
        slots: members in training at once in each, at most.
        tasks: the tasks of all members.
        together: whether members are given to workers when all have started. Then where a member is trained
            does not depend on which worker starts first.

    Attributes:
        waiting: the members, in the order in which they get a worker.
    """

    def __init__(self, places: Sequence[Place], slots: int, tasks: Tasks, together: bool) -> None:
        self._places, self._slots, self._tasks = places, slots, tasks
        self._have_begun = not together
        self.waiting: list[Batch] = []
        # The members that workers had, and their indices: a heap, and its entries. An entry of a worker that
        # has changed since is dropped when it comes to the top.
        self._heap: list[tuple[int, int]] = []
        self._entries: set[tuple[int, int]] = set()

    def offer(self, place: Place) -> None:
        """Notes a worker that may take members: it has answered, or has got or lost some."""
        entry = len(place.members), place.index
        if place.takes_members and entry not in self._entries:
            self._entries.add(entry)
            heappush(self._heap, entry)

    def give(self) -> list[Place]:
        """Gives waiting members to workers that can take them now; the workers that got some."""
        if self.waiting and not self._have_begun:
            self._have_begun = all(each.is_ready for each in self._places)
        if not self.waiting or not self._have_begun:
            return []
        waiting, self.waiting = self.waiting, []
        found = []
        for batch in waiting:
            place = self._place_for(batch)
            if place is None:
                self.waiting.append(batch)
            else:
                self._hand_over(place, batch)
                found.append(place)
        return found

    def release(self, numbers: set[int]) -> None:
        """Drops members that wait, by their numbers."""
        for batch in self.waiting:
            batch.gone |= numbers & batch.members.keys()
        self.waiting = [each for each in self.waiting if len(each.gone) < len(each.members)]

    def _place_for(self, batch: Batch) -> Place | None:
        """The worker with the fewest members that can take a batch now; None if there is none."""
        if batch.index is not None:
            place = self._places[batch.index]
            return place if place.takes_members else None
        while self._heap:
            members, index = self._heap[0]
            place = self._places[index]
            if place.takes_members and members == len(place.members):
                fits = batch.state is not None or members + len(batch.members) <= self._slots
                return place if fits else None
            self._entries.remove(heappop(self._heap))
        return None

    def _hand_over(self, place: Place, batch: Batch) -> None:
        sent = {number: self._tasks.without(member, place) for number, member in batch.members.items()}
        if batch.state is None:
            place.call("admit", {number: sent[number] for number in batch.left})
        else:
            place.call("restore", sent, *batch.state)
            place.call("release", list(batch.gone))
            place.parts.append((batch.members, batch.state))
        place.members |= batch.left
        self.offer(place)
