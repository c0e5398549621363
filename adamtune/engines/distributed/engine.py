"""The engine that gives trials to workers, each of which trains them with an engine of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
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
from adamtune.engines.distributed.placement import Placement
from adamtune.engines.distributed.recovery import Recovery
from adamtune.engines.distributed.tasks import Tasks
from adamtune.engines.distributed.transport import packed
from adamtune.engines.plan import Plan

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
        pool: Pool,
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
        self._members: dict[Member, int] = {}  # their numbers, in order of admission
        self._numbers = count()
        self._steps: dict[int, int] = {}  # of the last evaluation that a worker has made
        self._independent = plan.engine == "sequential"
        self._arrivals = Arrivals(rounds, lone=plan.engine == "workers")
        self._places = [Place(index, pool, self._independent) for index in range(pool.count)]
        self._changed: dict[int, Place] = {}  # those that may have to train, by index
        self._placement = Placement(self._places, plan.slots, Tasks(pool), together=rounds)
        begin = ("begin", plan, folder.resolve(), timeout, cpus, torch.get_default_dtype())
        self._recovery = Recovery(begin, self._placement)
        for each in self._places:
            self._recovery.start(each)

    def admit(self, members: Sequence[Member]) -> None:
        """Puts members into free slots, at step 0. Raises ValueError if there are too few free slots."""
        if len(self._members) + len(members) > self.slots:
            raise ValueError(f"{len(members)} members for {self.slots - len(self._members)} free slots")
        self._placement.waiting += beginning(self._expect(members), self._independent)

    def advance(self, pause: Callable[[], bool] = lambda: False) -> list[Evaluation]:
        """Trains to the next evaluations of any trials, or of all in rounds; see ``Engine.advance``."""
        while True:
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
                self._placement.offer(place)
        self._placement.release(numbers)

    def state(self) -> dict[str, Any]:
        """The states that the workers have given last, and the steps of the returned evaluations."""
        stale = [each for each in self._places if each.is_stale]  # they do not train
        for place in stale:
            with self._recovery.watch(place):
                place.ask_state()
        while any(each.is_stale and each.is_awaited for each in stale):
            self._receive(TICK_SECONDS)
        places = {number: rank for rank, number in enumerate(self._members.values())}
        # In this order, so that those without a place take no slot of the others when they are restored.
        handed = (each for place in self._places for each in place.batches())
        return {
            "steps": [self._steps.get(number, 0) for number in places],
            "batches": [each.saved(places) for each in (*handed, *self._placement.waiting)],
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
            waiting = [restored(each, members, numbers, indices) for each in state["batches"]]
            for place, arrived in state.get("arrived", []):
                for each in arrived:
                    self._arrivals.add(numbers[place], Evaluation(**each | {"member": members[place]}))
        elif self._independent:
            own = zip(numbers, members, state["members"], strict=True)
            waiting = [
                Batch({number: member}, state=(packed({"members": [saved]}), self._plan))
                for number, member, saved in own
            ]
        else:
            whole = packed(state), self._foreign
            waiting = [Batch(dict(zip(numbers, members, strict=True)), state=whole)]
        self._placement.waiting = waiting

    def statuses(self) -> list[WorkerStatus]:
        """What each worker does."""
        return [each.status() for each in self._places]

    def events(self) -> list[str]:
        """What has happened to workers since the last call, a line each."""
        return self._recovery.events()

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
        left = {each.index for each in self._places if each.is_ready}
        while left and perf_counter() < end:
            for index in self._pool.wait(TICK_SECONDS):
                place = self._places[index]
                try:
                    place.receive()
                except WorkerDied:
                    place.worker.close()
                    left.discard(index)
                except Exception:  # it ends in any case
                    pass
                if not place.is_awaited:
                    left.discard(index)

    def _clear(self) -> None:
        """Ends all trainings; workers that train are replaced."""
        for member in list(self._members):
            self._forget(member)
        self._placement.waiting = []
        for place in self._places:
            if place.members:
                self._recovery.restart(place)

    def _train(self) -> None:
        """Lets the workers train that have members, and in rounds some without an evaluation."""
        self._changed |= {place.index: place for place in self._placement.give()}
        changed, self._changed = self._changed, {}
        ahead = AHEAD_SECONDS if self._independent else 0.0
        for place in changed.values():
            if self._rounds and not ahead and self._has_trained(place):
                continue
            with self._recovery.watch(place):
                while place.takes_training:
                    if place.is_stale or perf_counter() - place.asked > self._seconds:
                        place.ask_state()
                    place.train(max(self._seconds, LEAST_SECONDS), ahead)

    def _has_trained(self, place: Place) -> bool:
        """Whether an evaluation of each of its members waits."""
        return all(self._arrivals.has(number, each) for number, each in place.members.items())

    def _receive(self, timeout: float) -> None:
        """Takes the answers that are there, or come within ``timeout`` seconds."""
        for index in self._pool.wait(timeout)[:MOST_ANSWERS]:
            place = self._changed[index] = self._places[index]
            with self._recovery.watch(place):
                for number, evaluation in place.receive():
                    self._take(place, number, evaluation)
            self._placement.offer(place)

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
        self._recovery.forget(number)
        self._arrivals.add(number, evaluation._replace(member=member))

    def _due(self) -> list[Evaluation]:
        """The evaluations to return, in order of admission."""
        found = self._arrivals.due()
        if self._rounds and found:
            self._changed = dict(enumerate(self._places))
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
        self._recovery.forget(number)
        return number


def is_state(state: Mapping[str, Any]) -> bool:
    """Whether this engine has made the state."""
    return "batches" in state
