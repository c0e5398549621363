"""What a worker trains: members of tasks, with an engine of its own."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import mkdtemp
from time import perf_counter
from typing import Any

import torch

from adamtune.engines.base import Engine, Evaluation, Member
from adamtune.engines.distributed.base import Call, Shared
from adamtune.engines.distributed.batch import State
from adamtune.engines.distributed.transport import PackedTask, packed, unpacked
from adamtune.engines.plan import Plan
from adamtune.engines.sequential import Sequential
from adamtune.engines.start import start
from adamtune.tasks.base import Rows
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.program import Program


@dataclass
class _Trained:
    """An engine, and the numbers of its members in order of admission."""

    plan: Plan
    context: AbstractContextManager[Engine]
    engine: Engine
    members: dict[int, Member] = field(default_factory=dict)


class Host:
    """The members of this process. Its methods are the calls that it answers.

    Members and tasks have numbers, which the other side gives. New members are trained by the first engine.
    Members of a worker that died, who come with the state of that worker's engine, get an engine of their
    own, unless there is one of the same plan without members: states of engines cannot be joined.

    Args:
        moved: the folder of the user's code where the search runs, and where it is here; None if that is
            the same.
    """

    def __init__(self, moved: tuple[Path, Path] | None = None) -> None:
        self._moved = moved
        self._data: dict[str, tuple[Rows, Rows, Rows | None]] = {}
        self._tasks: dict[int, LoadedTask] = {}
        self._engines: list[_Trained] = []

    def turn(self, calls: Sequence[Call]) -> Any:
        """Makes the calls; the result of the last."""
        result = None
        for name, *arguments in calls:
            result = getattr(self, name)(*arguments)
        return result

    def begin(self, plan: Plan, folder: Path, timeout: float | None, cpus: int, dtype: torch.dtype) -> str:
        """Takes how members are trained; the name of this machine.

        Args:
            plan: the engine.
            folder: the folder for logs and checkpoints of functions and commands, where the search runs.
            timeout: the seconds that one of these may take; None for no limit.
            cpus: threads of an operation where members do not train in threads.
            dtype: torch's default.
        """
        torch.set_default_dtype(dtype)
        torch.set_num_threads(cpus if plan.engine == "sequential" else 1)
        os.environ.setdefault("OMP_NUM_THREADS", str(cpus))
        # Without the search's own folder, what functions keep stays on this machine.
        self._folder = folder if folder.is_dir() else Path(mkdtemp(prefix="adamtune-"))
        self._timeout = timeout
        self._engines = [self._new(plan)]
        return platform.node()

    def data(self, data_hash: str, shared: Shared) -> None:
        """Loads the data of tasks to come."""
        self._data[data_hash] = shared.load()

    def task(self, number: int, packed: PackedTask) -> None:
        """Takes a task."""
        if packed.file is not None:
            packed = replace(packed, file=self._here(packed.file))
        self._tasks[number] = packed.unpack(*self._data[packed.data_hash])

    def admit(self, members: Mapping[int, tuple[Member, int | None]]) -> None:
        """Admits members; those of tasks without their tasks, but with the numbers of these."""
        own = self._with_tasks(members)
        self._engines[0].members |= own
        self._engines[0].engine.admit(list(own.values()))

    def restore(self, members: Mapping[int, tuple[Member, int | None]], state: bytes, plan: Plan) -> None:
        """Admits members of another worker at the steps that they had reached there.

        Args:
            members: all members of the state, in its order.
            state: the state of the engine that trained them.
            plan: the plan of that engine.
        """
        arrived, first = self._with_tasks(members), self._engines[0]
        if isinstance(first.engine, Sequential) and plan.engine == "sequential":
            first.members |= arrived
            first.engine.join(list(arrived.values()), unpacked(state))
            return
        own = next((each for each in self._engines if each.plan == plan and not each.members), None)
        if own is None:
            own = self._new(plan)
            self._engines.append(own)
        own.members = arrived
        own.engine.restore(list(arrived.values()), unpacked(state))

    def release(self, numbers: Sequence[int]) -> None:
        """Frees the slots of members."""
        for each in self._engines:
            gone = [each.members.pop(number) for number in numbers if number in each.members]
            if gone:
                each.engine.release(gone)

    def state(self) -> list[tuple[list[int], State]]:
        """The members of each engine, its state and its plan: of independent members one after the other."""
        found = []
        for each in [each for each in self._engines if each.members]:
            numbers, state = list(each.members), each.engine.state()
            parts = [(numbers, state)]
            if isinstance(each.engine, Sequential):
                own = zip(numbers, state["members"], strict=True)
                parts = [([number], {"members": [member]}) for number, member in own]
            found += [(numbers, (packed(state), each.plan)) for numbers, state in parts]
        return found

    def advance(self, seconds: float, ahead: float) -> list[tuple[int, Evaluation]]:
        """Trains to the next evaluations, or for some seconds.

        Args:
            seconds: training stops after so long.
            ahead: training goes on for so long where no member has ended: its evaluations are worth a message
                then. Only where results do not depend on when members come and go.

        Returns:
            The evaluations, each with the number of its member and without the member.
        """
        began = perf_counter()
        self._drop_idle()
        found: list[tuple[int, Evaluation]] = []
        while made := self._advance(began + seconds):
            found += made
            if perf_counter() > began + ahead or any(each.ends for _, each in made):
                break
        return found

    def _advance(self, end: float) -> list[tuple[int, Evaluation]]:
        found = []
        for each in [each for each in self._engines if each.members]:
            numbers = {member: number for number, member in each.members.items()}
            for evaluation in each.engine.advance(lambda: perf_counter() > end):
                number = numbers[evaluation.member]
                if evaluation.ends:
                    del each.members[number]
                found.append((number, evaluation._replace(member=None)))  # type: ignore[arg-type]
        return found

    def close(self) -> None:
        """Ends the processes of functions and commands."""
        for each in self._engines:
            each.context.__exit__(None, None, None)
        self._engines = []

    def _new(self, plan: Plan) -> _Trained:
        context = start(plan, self._folder, self._timeout)
        return _Trained(plan, context, context.__enter__())

    def _drop_idle(self) -> None:
        for each in [each for each in self._engines[1:] if not each.members]:
            each.context.__exit__(None, None, None)
            self._engines.remove(each)

    def _with_tasks(self, members: Mapping[int, tuple[Member, int | None]]) -> dict[int, Member]:
        found = {}
        for number, (each, task) in members.items():
            own: Any = each.task if task is None else self._tasks[task]
            if isinstance(own, Program) and self._moved is not None:
                function = own.function and own.function.replace(str(self._moved[0]), str(self._moved[1]), 1)
                own = replace(own, folder=self._here(own.folder), function=function)
            found[number] = replace(each, task=own)
        return found

    def _here(self, path: Path) -> Path:
        """Where a file or folder of the user's code is here."""
        if self._moved is None or not path.is_relative_to(self._moved[0]):
            return path
        return self._moved[1] / path.relative_to(self._moved[0])
