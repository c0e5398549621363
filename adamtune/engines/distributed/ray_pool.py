"""Workers that are actors of a Ray cluster. The only file that knows Ray."""

from __future__ import annotations

import os
import signal
import socket
import sys
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
EXCLUDED = [".git", ".venv", "runs", "*.db*", "__pycache__"]
"""Files of a task's folder that workers do not get."""
SILENT = {"RAY_DEDUP_LOGS_SKIP_REGEX": "^"}
"""Keeps Ray from printing what happens to its processes to stdout. It is read when Ray is imported."""
REASONS = {
    "its node has died": "its node is lost",
    "worker process has died": "its process was killed or crashed",
    "running low on memory": "its node ran out of memory",
    "is unavailable": "it cannot be reached",
}
"""What Ray's messages contain, and what is said of it."""


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
        os.environ.update(SILENT)
        try:
            import ray
        except ImportError as error:
            self._restore_process()
            raise UsageError(MISSING) from error
        self._ray, self._was_connected = ray, ray.is_initialized()
        try:
            if not self._was_connected:
                _connect(ray, address, code)
        except Exception as error:  # of many kinds
            raise UsageError(f"Ray at {address} cannot be used: {_advice(error)}") from error
        finally:
            self._restore_process()
        self._needs = {"CPU": cpus} | ({"GPU": gpus} if gpus else {})
        resources = ray.cluster_resources()
        room = min(resources.get(name, 0) / each for name, each in self._needs.items())
        self.count = workers or max(1, int(room))
        # A worker that dies is replaced by the engine, which knows what it trained.
        options = {"num_cpus": cpus, "num_gpus": gpus, "max_restarts": 0, "max_task_retries": 0}
        self._actor = ray.remote(**options)(Actor)
        self._started: dict[int, RayWorker] = {}
        has_code = code is not None and not self._was_connected
        self._origin = (code, ray.get_runtime_context().get_node_id()) if has_code else None

    def start(self, index: int) -> RayWorker:
        """Asks for an actor; the cluster starts it when it has the resources."""
        self._started[index] = RayWorker(self._ray, self._actor.remote(self._origin))
        return self._started[index]

    def room(self) -> str:
        """What the cluster has, what of it is free, and what a worker needs."""
        has, free = self._ray.cluster_resources(), self._ray.available_resources()
        parts = [f"{has.get(name, 0):g} {name}s, {free.get(name, 0):g} of them free" for name in self._needs]
        needs = " and ".join(f"{each:g} {name}" for name, each in self._needs.items())
        return f"the cluster has {' and '.join(parts)}, and each worker needs {needs}"

    def wait(self, timeout: float) -> Sequence[int]:
        """The workers with an answer; see ``Pool.wait``."""
        first = {each.answers[0]: index for index, each in self._started.items() if each.answers}
        if not first:
            return []
        ready, _ = self._ray.wait(list(first), num_returns=len(first), timeout=0, fetch_local=False)
        if not ready:
            ready, _ = self._ray.wait(list(first), num_returns=1, timeout=timeout, fetch_local=False)
        return [first[each] for each in ready]

    def share(self, value: Any) -> Shared:
        """Puts a value into the object store."""
        from adamtune.engines.distributed.transport import packed

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
    # As a module, not as the working directory, where a file such as queue.py would hide Python's own.
    folders = [Path(__file__).parents[2], *([code] if code else [])]
    runtime = {"py_modules": [*map(str, folders)], "excludes": EXCLUDED}
    own = {"num_cpus": cores(), "include_dashboard": False} if address == "local" else {}
    ray.init(address=address, logging_level="ERROR", log_to_driver=False, runtime_env=runtime, **own)


@dataclass(frozen=True)
class SharedObject:
    """A value in Ray's object store."""

    reference: Any

    def load(self) -> Any:
        """The value."""
        import ray

        from adamtune.engines.distributed.transport import unpacked

        return unpacked(ray.get(self.reference))


class Actor:
    """The process of a worker in a cluster.

    Args:
        origin: the folder of the user's code on the node of the search, and the id of this node; None if
            there is no such code.
    """

    def __init__(self, origin: tuple[Path, str] | None) -> None:
        import ray

        from adamtune.engines.distributed.host import Host

        context, moved = ray.get_runtime_context(), None
        # A folder of that name on another node may have other code.
        if origin is not None and origin[1] != context.get_node_id():
            code = origin[0]
            package = Path(context.runtime_env["py_modules"][1]).stem
            moved = code, next(Path(each) for each in sys.path if Path(each).name == package) / code.name
        self._host = Host(moved)

    def turn(self, calls: Sequence[Call]) -> tuple[bool, Any]:
        """The answer to calls."""
        from adamtune.engines.distributed.program import answer

        return answer(self._host, calls)


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
    """The cause that Ray gives, in a few words."""
    text = str(error)
    lines = [each.strip() for each in text.splitlines() if each.strip()] or [type(error).__name__]
    if "creation task" in text or "runtime environment" in text:
        return f"it could not start: {lines[-1]}"
    return next((said for part, said in REASONS.items() if part in text), lines[0])


def _advice(error: Exception) -> str:
    """Why Ray cannot be used, and what to do."""
    text = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(cause)
    if any("AuthToken" in str(each) for each in causes):
        return f"{text}. It needs the token of the cluster, in $RAY_AUTH_TOKEN or ~/.ray/auth_token"
    if "exceeds the maximum size" in text:
        return f"{text}. Name large files of the folder in a file .rayignore there: nodes do not get those"
    return (
        f"{text}. `ray start --head` starts a cluster on this machine for the address auto; the address"
        " local starts one for this search alone"
    )
