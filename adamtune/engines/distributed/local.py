"""Workers that are processes of this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count as numbers
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import torch

from adamtune.engines.distributed.base import Call, Shared, WorkerDied
from adamtune.engines.side_by_side.process import Process
from adamtune.engines.side_by_side.transport import load, save
from adamtune.errors import AdamtuneError, UsageError

OPEN_FILES = Path(f"/proc/{os.getpid()}/fd")
"""Where other processes find the open files of this one, on Linux."""
HOST = "adamtune.engines.distributed.host:Host"


class LocalWorker:
    """A ``Worker`` that is a process of this machine; it ends when this one does."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.process = Process(HOST, environment)
        self._is_ready = False

    def send(self, calls: Sequence[Call]) -> None:
        """Sends calls; see ``Worker.send``."""
        try:
            self.process.send("turn", list(calls))
        except AdamtuneError as error:
            raise WorkerDied(self.process.death) from error

    @property
    def has_answer(self) -> bool:
        """Whether ``receive`` returns or raises at once."""
        connection = self.process.connection
        if not self._is_ready and connection.poll():
            try:
                self.process.receive()  # tells that it has started
            except AdamtuneError:
                return True
            self._is_ready = True
        return self._is_ready and connection.poll()

    def receive(self) -> tuple[bool, Any]:
        """The next answer; see ``Worker.receive``."""
        try:
            return self.process.answer()
        except AdamtuneError as error:
            raise WorkerDied(self.process.death) from error

    def close(self) -> None:
        """Ends the process."""
        self.process.close()


@dataclass(frozen=True)
class SharedFile:
    """A value in a file, whose memory the processes share."""

    path: Path

    def load(self) -> Any:
        """The value."""
        return load(self.path)


class LocalPool:
    """A ``Pool`` of processes of this machine.

    Args:
        count: workers at once.
        cpus: cores of each.
        gpus: GPUs of each, or a part of one; worker 0 has the first.

    Raises:
        UsageError: this machine has too few GPUs.
    """

    replaces = True

    def __init__(self, count: int, cpus: int, gpus: float) -> None:
        self.count, self._cpus, self._gpus = count, cpus, gpus
        self._folder = TemporaryDirectory(prefix="adamtune-")
        self._numbers = numbers()
        self._open: list[BinaryIO] = []
        self._visible = visible_gpus() if gpus else []
        needed = max(self._devices(count - 1)) + 1 if gpus else 0
        here = len(self._visible)
        if needed > here:
            raise UsageError(
                f"workers: {count} with gpus: {gpus:g} need {needed} GPUs, and {here} are visible"
                " here: set workers or gpus to less, or CUDA_VISIBLE_DEVICES to more"
            )

    def start(self, index: int) -> LocalWorker:
        """Starts the process of a place."""
        environment = {**os.environ, "OMP_NUM_THREADS": str(self._cpus)}
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(
                self._visible[each] for each in self._devices(index)
            )
        return LocalWorker(environment)

    def wait(self, workers: Sequence[LocalWorker], timeout: float) -> Sequence[LocalWorker]:
        """The workers with an answer; see ``Pool.wait``."""
        ready = set(wait([each.process.connection for each in workers], timeout))
        return [each for each in workers if each.process.connection in ready and each.has_answer]

    def share(self, value: Any) -> Shared:
        """Writes a value to a file, which is there until the pool is closed."""
        path = Path(self._folder.name, str(next(self._numbers)))
        save(value, path)
        if not OPEN_FILES.is_dir():
            return SharedFile(path)
        # Without a name, so that nothing is left behind if this process is killed.
        self._open.append(path.open("rb"))
        path.unlink()
        return SharedFile(OPEN_FILES / str(self._open[-1].fileno()))

    def room(self) -> str:
        """Nothing is known; see ``Pool.room``."""
        return ""

    def close(self) -> None:
        """Deletes the files."""
        for each in self._open:
            each.close()
        self._folder.cleanup()

    def _devices(self, index: int) -> range:
        """The places of a worker's GPUs among the visible ones."""
        if self._gpus < 1:
            first = index // int(1 / self._gpus)
            return range(first, first + 1)
        each = int(self._gpus)
        return range(index * each, (index + 1) * each)


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [each for each in named.split(",") if each]
    return [str(each) for each in range(torch.cuda.device_count())]
