"""Tasks of members that go to workers."""

from __future__ import annotations

from dataclasses import replace

from adamtune.engines.base import Member
from adamtune.engines.distributed.base import Pool, Shared
from adamtune.engines.distributed.place import Place
from adamtune.engines.distributed.transport import PackedTask, pack
from adamtune.errors import UsageError
from adamtune.tasks.loaded import LoadedTask


class Tasks:
    """The tasks of all members, each of which a worker gets once, and their data.

    Args:
        pool: shares the data.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._numbers: dict[LoadedTask, int] = {}
        self._packed: list[PackedTask] = []
        self._data: dict[str, Shared] = {}

    def without(self, member: Member, place: Place) -> tuple[Member, int | None]:
        """The member without its task, and the number of the task, which the worker gets before.

        Raises:
            UsageError: another process cannot have the task.
        """
        task: object = member.task
        if not isinstance(task, LoadedTask):  # a program, which is small
            return member, None
        number = self._number(task)
        if task.data_hash not in place.known:
            place.call("data", task.data_hash, self._data[task.data_hash])
        if number not in place.known:
            place.call("task", number, self._packed[number])
        place.known |= {task.data_hash, number}
        return replace(member, task=None), number  # type: ignore[arg-type]

    def _number(self, task: LoadedTask) -> int:
        if task not in self._numbers:
            try:
                self._packed.append(pack(task))
            except ValueError as error:
                raise UsageError(f"workers cannot get this task: {error}") from error
            self._numbers[task] = len(self._numbers)
            if task.data_hash not in self._data:
                self._data[task.data_hash] = self._pool.share((task.train, task.validation, task.test))
        return self._numbers[task]
