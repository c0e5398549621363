"""The engine that gives trials to workers, each of which trains them with an engine of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from itertools import count, groupby
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from adamtune.engines.base import Evaluation, Member
from adamtune.engines.distributed.base import Pool, Shared, WorkerDied, WorkerStatus
from adamtune.engines.distributed.host import packed
from adamtune.engines.distributed.place import Batch, Place
from adamtune.engines.plan import Plan
from adamtune.engines.side_by_side.transport import PackedTask, pack
from adamtune.errors import AdamtuneError, UsageError
from adamtune.tasks.loaded import LoadedTask

STATE_SECONDS = 5.0
"""A worker that dies costs about so much of its training."""
LEAST_SECONDS = 0.1
"""A worker trains at least so long, or to its next evaluations, before it gives a state."""
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

    A trial goes to the worker with the fewest members. All its members go there, because those that train
    together share batches. Evaluations are returned as they come, or in rounds: then every member is
    trained to its next evaluation, and the order in which workers are done decides nothing.

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
        self._steps: dict[int, int] = {}  # of the last evaluation that was returned
        self._deaths: dict[int, int] = {}  # of workers, since a member's last evaluation
        self._waiting: list[Batch] = []
        self._arrived: dict[int, Evaluation] = {}
        self._tasks: dict[LoadedTask, int] = {}
        self._events: list[str] = []
        self._packed: list[PackedTask] = []
        self._data: dict[str, Shared] = {}
        self._have_begun = not rounds
        self._places: list[Place] = []
        for index in range(pool.count):
            self._places.append(Place(index, pool))
            self._start(self._places[-1])

    def admit(self, members: Sequence[Member]) -> None:
        """Puts members into free slots, at step 0. Raises ValueError if there are too few free slots."""
        if len(self._members) + len(members) > self.slots:
            raise ValueError(f"{len(members)} members for {self.slots - len(self._members)} free slots")
        self._members |= zip(members, self._numbers, strict=False)
        for _, own in groupby(members, key=lambda each: each.trial):
            self._waiting.append(Batch({self._members[each]: each for each in own}))

    def advance(self, pause: Callable[[], bool] = lambda: False) -> list[Evaluation]:
        """Trains to the next evaluations of any trials, or of all in rounds; see ``Engine.advance``."""
        while True:
            self._give()
            self._train()
            self._receive(TICK_SECONDS)
            if (found := self._due()) or not self._members or pause():
                return found

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
            "batches": [_saved(each, places) for each in (*handed, *self._waiting)],
        }

    def restore(self, members: Sequence[Member], state: Mapping[str, Any]) -> None:
        """Replaces all members by those of a state; see ``Engine.restore``.

        A state of another engine goes to one worker, which continues it with such an engine.
        """
        self._clear()
        self._members = dict(zip(members, self._numbers, strict=False))
        numbers = list(self._members.values())
        if not is_state(state):
            self._waiting = [
                Batch(dict(zip(numbers, members, strict=True)), state=(packed(state), self._foreign))
            ]
            return
        self._steps = dict(zip(numbers, state["steps"], strict=True))
        for saved in state["batches"]:
            own = {numbers[place]: members[place] for place in saved["members"]}
            index = saved["index"] if saved["index"] in range(self._pool.count) else None
            part = saved["state"] and (
                saved["state"]["content"].numpy().tobytes(),
                Plan(**saved["state"]["plan"]),
            )
            self._waiting.append(Batch(own, state=part, index=index if self._pool.replaces else None))

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
        self._waiting, self._arrived = [], {}
        self._members, self._steps, self._deaths = {}, {}, {}
        for place in self._places:
            if place.members:
                place.worker.close()
                place.start()
                self._start(place)

    def _give(self) -> None:
        """Gives the waiting members to workers that do not train."""
        if self._rounds and not self._have_begun:
            # Where a member is trained is not to depend on which worker starts first.
            self._have_begun = all(each.is_ready for each in self._places)
        waiting, self._waiting = self._waiting, []
        idle = [each for each in self._places if each.is_ready and not each.is_awaited] if waiting else []
        for batch in waiting:
            place = self._place_for(batch, idle) if self._have_begun else None
            if place is None:
                self._waiting.append(batch)
            else:
                self._hand_over(place, batch)

    def _place_for(self, batch: Batch, idle: Sequence[Place]) -> Place | None:
        """The idle worker with the fewest members that can take a batch; None if there is none."""
        free = [each for each in idle if batch.index in (None, each.index)]
        if batch.state is None:
            most = self._plan.slots - len(batch.members)
            free = [each for each in free if len(each.members) <= most]
        return min(free, key=lambda each: len(each.members), default=None)

    def _hand_over(self, place: Place, batch: Batch) -> None:
        sent = {number: self._portable(place, member) for number, member in batch.members.items()}
        if batch.state is None:
            place.call("admit", {number: each for number, each in sent.items() if number not in batch.gone})
        else:
            place.call("restore", sent, *batch.state)
            place.call("release", list(batch.gone))
            place.parts.append((batch.members, batch.state))
        place.members |= {
            number: member for number, member in batch.members.items() if number not in batch.gone
        }

    def _portable(self, place: Place, member: Member) -> tuple[Member, int | None]:
        """The member without its task, and the number of the task, which the worker gets before."""
        task: object = member.task
        if not isinstance(task, LoadedTask):  # a program, which is small
            return member, None
        if task not in self._tasks:
            self._tasks[task] = len(self._tasks)
            self._packed.append(_packed(task))
            if task.data_hash not in self._data:
                self._data[task.data_hash] = self._pool.share((task.train, task.validation, task.test))
        number = self._tasks[task]
        if task.data_hash not in place.known:
            place.call("data", task.data_hash, self._data[task.data_hash])
        if number not in place.known:
            place.call("task", number, self._packed[number])
        place.known |= {task.data_hash, number}
        return replace(member, task=None), number  # type: ignore[arg-type]

    def _train(self) -> None:
        """Lets the workers train that have members and nothing else to do."""
        for place in self._places:
            if place.is_awaited or not place.members or (self._rounds and place.has_evaluated):
                continue
            with self._alive(place):
                if place.is_stale or perf_counter() - place.asked > self._seconds:
                    place.ask_state()
                place.call("advance", max(self._seconds, LEAST_SECONDS))
                place.flush()

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
        """Keeps an evaluation, unless it was returned before."""
        member = place.members[number]
        if evaluation.ends:
            del place.members[number]
        elif evaluation.step <= self._steps.get(number, 0):
            return
        place.evaluations += 1
        place.has_evaluated = True
        self._deaths.pop(number, None)
        self._arrived[number] = evaluation._replace(member=member)

    def _due(self) -> list[Evaluation]:
        """The evaluations to return, in order of admission."""
        busy = (each for each in self._places if each.members)
        if self._rounds and (self._waiting or not all(each.has_evaluated for each in busy)):
            return []
        found = [self._arrived[number] for number in sorted(self._arrived)]
        self._arrived = {}
        for place in self._places:
            place.has_evaluated = False
        for each in found:
            self._steps[self._members[each.member]] = each.step
            if each.ends:
                self._forget(each.member)
        return found

    def _forget(self, member: Member) -> int:
        """Drops a member; its number."""
        number = self._members.pop(member)
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


def _saved(batch: Batch, places: Mapping[int, int]) -> dict[str, Any]:
    """A batch for a checkpoint, whose members are places in the order of admission.

    A state that has members which are in training no more cannot be kept, because nobody knows them after a
    restart: the others begin anew.
    """
    state = None
    if batch.state is not None and not batch.gone:
        content, plan = batch.state
        state = {"content": torch.frombuffer(bytearray(content), dtype=torch.uint8), "plan": asdict(plan)}
    members = [places[number] for number in batch.members if number not in batch.gone]
    return {"members": members, "state": state, "index": batch.index}


def _packed(task: LoadedTask) -> PackedTask:
    try:
        return pack(task)
    except ValueError as error:
        raise UsageError(f"workers cannot get this task: {error}") from error


def is_state(state: Mapping[str, Any]) -> bool:
    """Whether this engine has made the state."""
    return "batches" in state
