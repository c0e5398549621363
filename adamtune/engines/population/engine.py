"""Trains many members in lockstep: README.md explains slots, groups and cohorts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import torch

from adamtune.engines.base import Evaluation, Member, Source
from adamtune.engines.population.group import Group
from adamtune.tasks.base import Task

KEPT = 4
"""Cohorts that are kept though they have no members: recording a computation anew takes a while."""


class Population:
    """The Engine of batched computations.

    The slots are divided among ``threads`` threads, each with a group of its own for every task: on a
    CPU, threads over groups keep the cores busier than threads inside small operations.

    Args:
        slots: members in training at once.
        threads: groups that train at the same time; 1 on a GPU.
    """

    def __init__(
        self,
        slots: int,
        threads: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.slots, self._threads = slots, min(threads, slots)
        self._device, self._dtype = torch.device(device), dtype
        self._cohorts: dict[Task, list[Group]] = {}
        self._homes: dict[Member, Group] = {}
        self._pool = ThreadPoolExecutor(self._threads, initializer=torch.set_num_threads, initargs=(1,))

    def admit(self, members: Sequence[Member]) -> None:
        """Puts members into free slots, at step 0. Raises ValueError if there are too few."""
        if len(self._homes) + len(members) > self.slots:
            raise ValueError(f"{len(members)} members for {self.slots - len(self._homes)} free slots")
        for member in members:
            group = min(self._cohort(member.task), key=lambda each: len(each.active))
            group.admit(member)
            self._homes[member] = group

    def advance(self, pause: Callable[[], bool] = lambda: False) -> list[Evaluation]:
        """Trains every member to its next evaluation; one Evaluation each, in order of admission."""
        busy = [group for cohort in self._cohorts.values() for group in cohort if group.active]
        apply = self._pool.map if self._device.type == "cpu" else map
        # All groups train before one is scored: after a pause, none may be a stretch ahead.
        there = list(apply(lambda group: group.train(pause), busy))
        if not all(there):
            return []
        stretches = list(apply(Group.evaluate, busy))
        order = {member: place for place, member in enumerate(self._homes)}
        evaluations = sorted(chain.from_iterable(stretches), key=lambda each: order[each.member])
        for each in evaluations:
            if each.finished or each.diverged_at is not None:
                del self._homes[each.member]
        return evaluations

    def release(self, members: Sequence[Member]) -> None:
        """Frees the slots of members that are not to be trained further."""
        for member in members:
            self._homes.pop(member).release(member)

    def state(self) -> dict[str, Any]:
        """Each group's state, its thread, and its members' places in the order of admission."""
        order = {member: place for place, member in enumerate(self._homes)}
        return {
            "groups": [
                {"thread": thread, "members": [order[each.member] for each in group.active], **group.state()}
                for cohort in self._cohorts.values()
                for thread, group in enumerate(cohort)
                if group.active
            ]
        }

    def restore(self, members: Sequence[Member], state: Mapping[str, Any]) -> None:
        """Takes up training where ``state`` was taken; ``members`` in order of admission."""
        self._cohorts.clear()
        homes: dict[Member, Group] = {}
        for saved in state["groups"]:
            seated = [members[place] for place in saved["members"]]
            group = self._cohort(seated[0].task)[saved["thread"]]
            group.restore(seated, saved)
            homes |= dict.fromkeys(seated, group)
        self._homes = {member: homes[member] for member in members}

    def _cohort(self, task: Task) -> list[Group]:
        if task not in self._cohorts:
            self._forget_idle()
            source = Source(task, self._device, self._dtype)
            capacity = -(-self.slots // self._threads)
            self._cohorts[task] = [Group(source, capacity) for _ in range(self._threads)]
        return self._cohorts[task]

    def _forget_idle(self) -> None:
        """Lets go of cohorts without members, but for the latest few, which may be wanted again."""
        idle = [task for task, groups in self._cohorts.items() if not any(group.active for group in groups)]
        for task in idle[:-KEPT]:
            del self._cohorts[task]
