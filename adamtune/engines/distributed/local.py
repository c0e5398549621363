"""Workers that are processes of this machine."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count as numbers
from multiprocessing import Pipe
from pathlib import Path
from selectors import EVENT_READ, BaseSelector, DefaultSelector
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import torch

from adamtune.engines.distributed.base import Call, Shared, WorkerDied
from adamtune.engines.distributed.transport import load, save
from adamtune.engines.workers.process import describe
from adamtune.errors import UsageError

OPEN_FILES = Path(f"/proc/{os.getpid()}/fd")
"""Where other processes find the open files of this one, on Linux."""


class LocalWorker:
    """A ``Worker`` that is a process of this machine, with ``program.py``; it ends when this one does.

    Args:
        index: its place.
        environment: the environment of the process.
        selector: waits for its answers.
    """

    def __init__(self, index: int, environment: Mapping[str, str], selector: BaseSelector) -> None:
        self._selector = selector
        self._connection, theirs = Pipe()
        selector.register(self._connection, EVENT_READ, index)
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; from adamtune.engines.distributed.program import main;"
            f" main({theirs.fileno()})"
        )
        # In a session of its own, so that Ctrl-C does not end it; what the task prints is no output of ours.
        self._popen = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=2,
            start_new_session=True,
            pass_fds=[theirs.fileno()],
            env=environment,
        )
        theirs.close()

    def send(self, calls: Sequence[Call]) -> None:
        """Sends calls; see ``Worker.send``."""
        try:
            self._connection.send_bytes(pickle.dumps(list(calls)))
        except OSError as error:
            raise self._death() from error

    def receive(self) -> tuple[bool, Any]:
        """The next answer; see ``Worker.receive``."""
        try:
            found: tuple[bool, Any] = pickle.loads(self._connection.recv_bytes())
        except (EOFError, OSError) as error:
            raise self._death() from error
        return found

    def close(self) -> None:
        """Ends the process, whatever it does."""
        self._popen.kill()
        self._popen.wait()
        if not self._connection.closed:
            self._selector.unregister(self._connection)
            self._connection.close()

    def _death(self) -> WorkerDied:
        """Why the process has ended; it is killed if it has not."""
        self._popen.kill()
        code = self._popen.wait()
        return WorkerDied(
            describe(code) + ("; the system may have run out of memory" if code == -signal.SIGKILL else "")
        )


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
        self._visible = visible_gpus() if gpus else []
        needed = max(self._devices(count - 1)) + 1 if gpus else 0
        here = len(self._visible)
        if needed > here:
            raise UsageError(
                f"workers: {count} with gpus: {gpus:g} need {needed} GPUs, and {here} are visible"
                " here: set workers or gpus to less, or CUDA_VISIBLE_DEVICES to more"
            )
        self._folder = TemporaryDirectory(prefix="adamtune-")
        self._numbers = numbers()
        self._selector = DefaultSelector()
        self._open: list[BinaryIO] = []

    def start(self, index: int) -> LocalWorker:
        """Starts the process of a place."""
        environment = {**os.environ, "OMP_NUM_THREADS": str(self._cpus)}
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(
                self._visible[each] for each in self._devices(index)
            )
        return LocalWorker(index, environment, self._selector)

    def wait(self, timeout: float) -> Sequence[int]:
        """The workers with an answer; see ``Pool.wait``."""
        return [key.data for key, _ in self._selector.select(timeout)]

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
        self._selector.close()
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
