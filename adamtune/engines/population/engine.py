"""The engine that trains many members in lockstep; README.md explains slots, groups and cohorts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import torch

from adamtune.engines.base import Evaluation, Member, Source
from adamtune.engines.population.group import Group
from adamtune.engines.population.verification import batched_task
from adamtune.tasks.loaded import LoadedTask

KEPT = 4
"""Cohorts without members that are kept: capturing their steps again would take time."""


class Population:
    """An ``Engine`` whose members train in lockstep, as batched computations.

    Each thread has a group for every task, with an equal part of the slots: on a CPU, threads over groups
    keep the cores busier than threads inside small operations.

    Args:
        slots: members in training at once.
        threads: groups of a task that train at the same time; 1 on a GPU.
        device: where the members are trained.
        dtype: the precision of parameters and data; None leaves it to the model.
    """

    def __init__(
        self,
        slots: int,
        threads: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
    ) -> None:
        self.slots, self._threads = slots, min(threads, slots)
        self._device, self._dtype = torch.device(device), dtype
        self._cohorts: dict[LoadedTask, list[Group]] = {}  # a group for each thread
        self._groups: dict[Member, Group] = {}  # in order of admission
        self._pool = ThreadPoolExecutor(self._threads, initializer=torch.set_num_threads, initargs=(1,))

    def admit(self, members: Sequence[Member]) -> None:
        """Puts members into free slots, at step 0. Raises ValueError if there are too few free slots."""
        if len(self._groups) + len(members) > self.slots:
            raise ValueError(f"{len(members)} members for {self.slots - len(self._groups)} free slots")
        for member in members:
            # The smallest group, so that all threads have equally many members.
            group = min(self._cohort(member.task), key=lambda each: len(each.active))
            group.admit(member)
            self._groups[member] = group

    def advance(self, pause: Callable[[], bool] = lambda: False) -> list[Evaluation]:
        """Trains every member to its next evaluation; see ``Engine.advance``."""
        busy = [group for cohort in self._cohorts.values() for group in cohort if group.active]
        # On a GPU the groups take turns in this thread: the device is busy with each of them anyway.
        apply = self._pool.map if self._device.type == "cpu" else map
        # No group is scored before all have trained: after a pause, none may be past its evaluation.
        complete = list(apply(lambda group: group.train(pause), busy))
        if not all(complete):
            return []
        by_group = list(apply(Group.evaluate, busy))
        # The groups' rows are in another order, because members that leave give their rows to others.
        order = {member: place for place, member in enumerate(self._groups)}
        evaluations = sorted(chain.from_iterable(by_group), key=lambda each: order[each.member])
        for each in evaluations:
            if each.finished or each.diverged_at is not None:
                del self._groups[each.member]
        return evaluations

    def release(self, members: Sequence[Member]) -> None:
        """Frees the slots of members whose training ends here."""
        for member in members:
            self._groups.pop(member).release(member)

    def close(self) -> None:
        """Ends the threads."""
        self._pool.shutdown()

    def state(self) -> dict[str, Any]:
        """Each group's state, its thread, and its members' places in the order of admission."""
        order = {member: place for place, member in enumerate(self._groups)}
        return {
            "groups": [
                {"thread": thread, "members": [order[each.member] for each in group.active], **group.state()}
                for cohort in self._cohorts.values()
                for thread, group in enumerate(cohort)
                if group.active
            ]
        }

    def restore(self, members: Sequence[Member], state: Mapping[str, Any]) -> None:
        """Replaces all members by those of a state; see ``Engine.restore``."""
        self._cohorts.clear()
        groups: dict[Member, Group] = {}
        for saved in state["groups"]:
            # In the same group and order, because the rows computed together decide the kernels' rounding.
            own = [members[place] for place in saved["members"]]
            group = self._cohort(own[0].task)[saved["thread"]]
            group.restore(own, saved)
            groups |= dict.fromkeys(own, group)
        self._groups = {member: groups[member] for member in members}

    def _cohort(self, task: LoadedTask) -> list[Group]:
        """The groups of a task, one for each thread."""
        if task not in self._cohorts:
            self._drop_idle_cohorts()
            own = batched_task(Source(task, self._device, self._dtype))
            capacity = -(-self.slots // self._threads)  # rounded up
            self._cohorts[task] = [Group(own, capacity) for _ in range(self._threads)]
        return self._cohorts[task]

    def _drop_idle_cohorts(self) -> None:
        """Frees the memory of cohorts without members, but for the latest ``KEPT``."""
        idle = [task for task, groups in self._cohorts.items() if not any(group.active for group in groups)]
        for task in idle[:-KEPT]:
            del self._cohorts[task]
