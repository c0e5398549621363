"""The engine that gives trials to workers, each of which trains them with an engine of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from heapq import heapify, heapreplace
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from adamtune.engines.base import Evaluation, Member
from adamtune.engines.distributed.arrivals import Arrivals
from adamtune.engines.distributed.base import Pool, WorkerDied, WorkerStatus
from adamtune.engines.distributed.batch import Batch, beginning, restored
from adamtune.engines.distributed.place import Place
from adamtune.engines.distributed.tasks import Tasks
from adamtune.engines.distributed.transport import packed
from adamtune.engines.plan import Plan
from adamtune.errors import AdamtuneError

STATE_SECONDS = 5.0
"""A worker that dies costs about so much of its training."""
LEAST_SECONDS = 0.1
"""A worker trains at least so long, or to its next evaluations, before it gives a state."""
AHEAD_SECONDS = 0.02
"""A worker of independent members trains for so long before it tells their evaluations."""
MOVED = "workers"
"""The key of this engine's state in one of ``SideBySide``."""
TICK_SECONDS = 0.05
"""How long answers are waited for before the engine asks whether to pause."""
MOST_ANSWERS = 16
"""So many workers, of hundreds that answer at the same time, get new members before the next are heard."""
MOST_DEATHS = 3
"""So many workers may die one after the other with a member that makes no progress."""
CLOSE_SECONDS = 6.0
"""How long workers may take to end functions and commands."""


class Distributed:
    """An ``Engine`` whose members are trained by workers.

    A trial goes to the worker with the fewest members, with all of its members where those that train
    together share batches. Evaluations are returned as they come, or in rounds; see ``Arrivals``.

    Members of sequential engines are independent: what one comes to depends on no other. So their workers
    need not wait until the search has heard an evaluation. They train on, and what a member has trained
    beyond the evaluation at which it is pruned is left out.

    If a worker dies, its members go on elsewhere from the state that it has given last. Evaluations that they
    make again are left out.

    Args:
        pool: starts the workers.
        plan: the engine of each worker.
        folder: the folder for logs and checkpoints of functions and commands.
        timeout: the seconds that one of these may take; None for no limit.
        cpus: threads of an operation where members do not train in threads.
        rounds: whether evaluations are taken in rounds.
        state_seconds: the time between two states of a worker.
        foreign: the plan of the engine whose states ``restore`` may get, if it is not one of this class.

    Attributes:
        slots: members in training at once, at most.
    """

    def __init__(
        self,
        pool: Pool[Any],
        plan: Plan,
        folder: Path = Path(),
        timeout: float | None = None,
        cpus: int = 1,
        rounds: bool = False,
        state_seconds: float = STATE_SECONDS,
        foreign: Plan | None = None,
    ) -> None:
        self.slots = pool.count * plan.slots
        self._foreign = foreign or plan
        self._pool, self._plan, self._rounds, self._seconds = pool, plan, rounds, state_seconds
        self._begin = ("begin", plan, folder.resolve(), timeout, cpus, torch.get_default_dtype())
        self._members: dict[Member, int] = {}  # their numbers, in order of admission
        self._numbers = count()
        self._steps: dict[int, int] = {}  # of the last evaluation that a worker has made
        self._deaths: dict[int, int] = {}  # of workers, since a member's last evaluation
        self._waiting: list[Batch] = []
        self._independent = plan.engine == "sequential"
        self._arrivals = Arrivals(rounds, lone=plan.engine == "workers")
        self._tasks = Tasks(pool)
        self._have_begun = not rounds
        self._events: list[str] = []
        self._places: list[Place] = []
        for index in range(pool.count):
            self._places.append(Place(index, pool, self._independent))
            self._start(self._places[-1])

    def admit(self, members: Sequence[Member]) -> None:
        """Puts members into free slots, at step 0. Raises ValueError if there are too few free slots."""
        if len(self._members) + len(members) > self.slots:
            raise ValueError(f"{len(members)} members for {self.slots - len(self._members)} free slots")
        self._waiting += beginning(self._expect(members), self._independent)

    def advance(self, pause: Callable[[], bool] = lambda: False) -> list[Evaluation]:
        """Trains to the next evaluations of any trials, or of all in rounds; see ``Engine.advance``."""
        while True:
            self._give()
            self._train()
            if not (found := self._due()):
                self._receive(TICK_SECONDS)
                found = self._due()
            if found or not self._members or pause():
                return found

    def begin(self) -> bool:
        """Takes what has come from the workers; whether all have started."""
        self._receive(0.0)
        return all(each.is_ready for each in self._places)

    def release(self, members: Sequence[Member]) -> None:
        """Frees the slots of members whose training ends here."""
        numbers = {self._forget(member) for member in members}
        if not numbers:  # the usual case, of a search of many workers
            return
        for place in self._places:
            if own := [each for each in place.members if each in numbers]:
                place.call("release", own)
                for number in own:
                    del place.members[number]
        for batch in self._waiting:
            batch.gone |= numbers & batch.members.keys()
        self._waiting = [each for each in self._waiting if len(each.gone) < len(each.members)]

    def state(self) -> dict[str, Any]:
        """The states that the workers have given last, and the steps of the returned evaluations."""
        stale = [each for each in self._places if each.is_stale]  # they do not train
        for place in stale:
            with self._alive(place):
                place.ask_state()
        while any(each.is_stale and each.is_awaited for each in stale):
            self._receive(TICK_SECONDS)
        places = {number: rank for rank, number in enumerate(self._members.values())}
        # In this order, so that those without a place take no slot of the others when they are restored.
        handed = (each for place in self._places for each in place.batches())
        return {
            "steps": [self._steps.get(number, 0) for number in places],
            "batches": [each.saved(places) for each in (*handed, *self._waiting)],
            "arrived": [
                (places[number], [each._asdict() | {"member": None} for each in waiting])
                for number, waiting in self._arrivals.waiting().items()
            ],
        }

    def restore(self, members: Sequence[Member], state: Mapping[str, Any]) -> None:
        """Replaces all members by those of a state; see ``Engine.restore``.

        A state of another engine goes to one worker, which continues it with such an engine; members that are
        independent go to all workers.
        """
        self._clear()
        numbers = [number for number, _ in self._expect(members)]
        state = state.get(MOVED, state)
        if is_state(state):
            self._steps = dict(zip(numbers, state["steps"], strict=True))
            indices = range(self._pool.count if self._pool.replaces else 0)
            self._waiting = [restored(each, members, numbers, indices) for each in state["batches"]]
            for place, waiting in state.get("arrived", []):
                for each in waiting:
                    self._arrivals.add(numbers[place], Evaluation(**each | {"member": members[place]}))
        elif self._independent:
            own = zip(numbers, members, state["members"], strict=True)
            self._waiting = [
                Batch({number: member}, state=(packed({"members": [saved]}), self._plan))
                for number, member, saved in own
            ]
        else:
            whole = packed(state), self._foreign
            self._waiting = [Batch(dict(zip(numbers, members, strict=True)), state=whole)]

    def statuses(self) -> list[WorkerStatus]:
        """What each worker does."""
        return [each.status() for each in self._places]

    def events(self) -> list[str]:
        """What has happened to workers since the last call, a line each."""
        found, self._events = self._events, []
        return found

    def close(self) -> None:
        """Ends the workers: what they trained since their last states is lost."""
        try:
            if self._plan.engine == "workers":
                self._end_programs()
        finally:
            for each in self._places:
                each.worker.close()

    def _end_programs(self) -> None:
        """Gives functions and commands the time to end by themselves."""
        end = perf_counter() + CLOSE_SECONDS
        for place in self._places:
            if place.is_ready:
                with suppress(WorkerDied):
                    place.call("close")
                    place.flush()
        left = [each for each in self._places if each.is_ready]
        while left and perf_counter() < end:
            for place in self._ready(left, TICK_SECONDS):
                with suppress(Exception):  # it ends in any case
                    place.receive()
                if not place.is_awaited:
                    left.remove(place)

    def _start(self, place: Place) -> None:
        """Tells a new worker how members are trained."""
        place.call(*self._begin)
        with self._alive(place):
            place.flush()

    def _clear(self) -> None:
        """Ends all trainings; workers that train are replaced."""
        for member in list(self._members):
            self._forget(member)
        self._waiting = []
        for place in self._places:
            if place.members:
                place.worker.close()
                place.start()
                self._start(place)

    def _give(self) -> None:
        """Gives the waiting members to workers that do not train."""
        if not self._waiting:
            return
        if self._rounds and not self._have_begun:
            # Where a member is trained is not to depend on which worker starts first.
            self._have_begun = all(each.is_ready for each in self._places)
        if not self._have_begun:
            return
        free = [(len(each.members), each.index) for each in self._places if each.takes_members]
        heapify(free)
        waiting, self._waiting = self._waiting, []
        for batch in waiting:
            place = self._place_for(batch, free)
            if place is None:
                self._waiting.append(batch)
            else:
                self._hand_over(place, batch)

    def _place_for(self, batch: Batch, free: list[tuple[int, int]]) -> Place | None:
        """The worker with the fewest members that can take a batch now; None if there is none.

        Args:
            batch: the members.
            free: a heap of the members and the index of workers; members may have come since.
        """
        if batch.index is not None:
            place = self._places[batch.index]
            return place if place.takes_members else None
        while free:
            members, index = free[0]
            place = self._places[index]
            if members == len(place.members):
                fits = batch.state is not None or members + len(batch.members) <= self._plan.slots
                return place if fits else None
            heapreplace(free, (len(place.members), index))
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

    def _train(self) -> None:
        """Lets the workers train that have members, and in rounds some without an evaluation."""
        ahead = AHEAD_SECONDS if self._independent else 0.0
        for place in self._places:
            if not place.takes_training or (self._rounds and not ahead and self._has_trained(place)):
                continue
            with self._alive(place):
                if place.is_stale or perf_counter() - place.asked > self._seconds:
                    place.ask_state()
                place.train(max(self._seconds, LEAST_SECONDS), ahead)

    def _has_trained(self, place: Place) -> bool:
        """Whether an evaluation of each of its members waits."""
        return all(self._arrivals.has(number, each) for number, each in place.members.items())

    def _receive(self, timeout: float) -> None:
        """Takes the answers that are there, or come within ``timeout`` seconds."""
        for place in self._ready(self._places, timeout)[:MOST_ANSWERS]:
            with self._alive(place):
                for number, evaluation in place.receive():
                    self._take(place, number, evaluation)

    def _ready(self, places: Sequence[Place], timeout: float) -> list[Place]:
        awaited = {id(each.worker): each for each in places if each.is_awaited}
        workers = [each.worker for each in awaited.values()]
        return [awaited[id(each)] for each in self._pool.wait(workers, timeout)] if workers else []

    def _take(self, place: Place, number: int, evaluation: Evaluation) -> None:
        """Keeps an evaluation, unless it was made before or its member was released in the meantime."""
        member = place.members.get(number)
        if member is None:
            return
        if evaluation.ends:
            del place.members[number]
        elif evaluation.step <= self._steps.get(number, 0):
            return
        place.evaluations += 1
        self._steps[number] = evaluation.step
        self._deaths.pop(number, None)
        self._arrivals.add(number, evaluation._replace(member=member))

    def _due(self) -> list[Evaluation]:
        """The evaluations to return, in order of admission."""
        found = self._arrivals.due()
        for each in found:
            if each.ends:
                self._forget(each.member)
        return found

    def _expect(self, members: Sequence[Member]) -> list[tuple[int, Member]]:
        """Takes members; their numbers with them."""
        found = list(zip(self._numbers, members, strict=False))
        for number, member in found:
            self._members[member] = number
            self._arrivals.expect(number, member)
        return found

    def _forget(self, member: Member) -> int:
        """Drops a member; its number."""
        number = self._members.pop(member)
        self._arrivals.drop(number, member)
        self._steps.pop(number, None)
        self._deaths.pop(number, None)
        return number

    @contextmanager
    def _alive(self, place: Place) -> Iterator[None]:
        """While it is entered, the death of a worker makes its members wait for another."""
        try:
            yield
        except WorkerDied as death:
            self._replace(place, str(death))

    def _replace(self, place: Place, reason: str) -> None:
        """Starts another worker in the place of one that has died.

        Raises:
            AdamtuneError: it would not help, because several died one after the other.
        """
        place.lost += 1
        place.failed_starts += not place.is_ready
        for number in place.members:
            self._deaths[number] = self._deaths.get(number, 0) + 1
        deaths = max([place.failed_starts, *(self._deaths[number] for number in place.members)])
        if deaths >= MOST_DEATHS:
            what, advice = "before they had begun", "mend that, then try again"
            if place.members:
                what = f"with {len(place.members)} members in training"
                advice = "try again, with fewer members at a time (population), or a smaller model or batch"
                advice += ", if they die again"
            raise AdamtuneError(
                f"{deaths} workers died one after the other {what}, the last one so: {reason}. What was"
                f" committed is kept: {advice}."
            )
        on = f": its {len(place.members)} trainings go on from their last states" if place.members else ""
        self._events.append(f"worker {place.index} died, {reason}{on}")
        self._waiting = place.batches() + self._waiting
        place.worker.close()
        place.start()
        self._start(place)


def is_state(state: Mapping[str, Any]) -> bool:
    """Whether this engine has made the state."""
    return "batches" in state
