"""Workers that are actors of a Ray cluster. The only file that knows Ray."""

from __future__ import annotations

import os
import signal
import socket
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adamtune.engines.distributed.base import Call, Shared, WorkerDied
from adamtune.engines.plan import cores
from adamtune.errors import UsageError

MISSING = "Ray is not installed: pip install 'adamtune[ray]'"
CONNECT_SECONDS = 10.0
EXCLUDED = [".git", ".venv", "runs", "*.db", "__pycache__"]
"""Files of a task's folder that workers do not get."""


class RayPool:
    """A ``Pool`` of actors of a Ray cluster.

    Args:
        address: the address of the cluster, "auto" for the one that runs on this machine, or "local" for one
            that is started, and ended with the pool.
        workers: workers at once; None for as many as the cluster has resources for now.
        cpus: cores of each.
        gpus: GPUs of each, or a part of one.
        code: the folder of the user's code, which the nodes get; None if there is none.

    Raises:
        UsageError: Ray is not installed, or the address cannot be reached.
    """

    replaces = False

    def __init__(
        self, address: str, workers: int | None, cpus: float, gpus: float, code: Path | None
    ) -> None:
        self._environment = dict(os.environ)
        self._handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            import ray
        except ImportError as error:
            raise UsageError(MISSING) from error
        self._ray, self._was_connected = ray, ray.is_initialized()
        try:
            if not self._was_connected:
                _connect(ray, address, code)
        except Exception as error:  # of many kinds
            self._restore_process()
            text = (str(error).splitlines() or [type(error).__name__])[0]
            raise UsageError(
                f"Ray at {address} cannot be used: {text}. `ray start --head` starts a cluster on this"
                " machine for the address auto; the address local starts one for this search alone"
            ) from error
        self._restore_process()
        resources = ray.cluster_resources()
        per_cpu = resources.get("CPU", 0) / cpus
        per_gpu = resources.get("GPU", 0) / gpus if gpus else per_cpu
        self.count = workers or max(1, int(min(per_cpu, per_gpu)))
        needs = {"num_cpus": cpus, "num_gpus": gpus}
        # A worker that dies is replaced by the engine, which knows what it trained.
        self._actor = ray.remote(max_restarts=0, max_task_retries=0, **needs)(Actor)
        self._code = code

    def start(self, index: int) -> RayWorker:
        """Asks for an actor; the cluster starts it when it has the resources."""
        return RayWorker(self._ray, self._actor.remote(self._code))

    def wait(self, workers: Sequence[RayWorker], timeout: float) -> Sequence[RayWorker]:
        """The workers with an answer; see ``Pool.wait``."""
        first = {each.answers[0]: each for each in workers}
        ready, _ = self._ray.wait(list(first), num_returns=len(first), timeout=0, fetch_local=False)
        if not ready:
            ready, _ = self._ray.wait(list(first), num_returns=1, timeout=timeout, fetch_local=False)
        return [first[each] for each in ready]

    def share(self, value: Any) -> Shared:
        """Puts a value into the object store."""
        from adamtune.engines.distributed.host import packed

        return SharedObject(self._ray.put(packed(value)))

    def close(self) -> None:
        """Disconnects, and ends a cluster that was started here."""
        if not self._was_connected:
            self._ray.shutdown()
        self._restore_process()

    def _restore_process(self) -> None:
        """Undoes what Ray has changed in this process: variables of the environment, handlers of signals."""
        for name in os.environ.keys() - self._environment.keys():
            del os.environ[name]
        os.environ.update(self._environment)
        for each, handler in self._handlers.items():
            signal.signal(each, handler)


def _connect(ray: Any, address: str, code: Path | None) -> None:
    """Connects to the cluster, or starts one, whose nodes get this package and the user's code."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdecimal():  # Ray itself tries for minutes
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    runtime: dict[str, Any] = {"py_modules": [str(Path(__file__).parents[2])]}
    if code is not None:
        runtime |= {"working_dir": str(code), "excludes": EXCLUDED}
    own = {"num_cpus": cores(), "include_dashboard": False} if address == "local" else {}
    ray.init(address=address, logging_level="ERROR", log_to_driver=False, runtime_env=runtime, **own)


@dataclass(frozen=True)
class SharedObject:
    """A value in Ray's object store."""

    reference: Any

    def load(self) -> Any:
        """The value."""
        import ray

        from adamtune.engines.distributed.host import unpacked

        return unpacked(ray.get(self.reference))


class Actor:
    """The process of a worker in a cluster.

    Args:
        code: the folder of the user's code on the machine of the search.
    """

    def __init__(self, code: Path | None) -> None:
        from adamtune.engines.distributed.host import Host

        self._host = Host(None if code is None or code.exists() else (code, Path.cwd()))

    def turn(self, calls: Sequence[Call]) -> tuple[bool, Any]:
        """The answer to calls."""
        from adamtune.engines.side_by_side.worker import answer

        return answer(self._host, ("turn", calls))


class RayWorker:
    """A ``Worker`` that is an actor."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray, self._actor = ray, actor
        self.answers: deque[Any] = deque()

    def send(self, calls: Sequence[Call]) -> None:
        """Sends calls; see ``Worker.send``."""
        self.answers.append(self._actor.turn.remote(list(calls)))

    def receive(self) -> tuple[bool, Any]:
        """The next answer; see ``Worker.receive``."""
        from ray.exceptions import RayError

        try:
            answer: tuple[bool, Any] = self._ray.get(self.answers.popleft())
        except RayError as error:
            raise WorkerDied(_reason(error)) from error
        return answer

    def close(self) -> None:
        """Kills the actor."""
        with suppress(Exception):  # of a cluster that has gone
            self._ray.kill(self._actor)


def _reason(error: Exception) -> str:
    """The cause that Ray gives, in one line."""
    lines = [each.strip() for each in str(error).splitlines() if each.strip()]
    told = next((each for each in lines if "dead because" in each), lines[0] if lines else "")
    return told.partition("Some common causes")[0].strip() or type(error).__name__
