"""``adamtune`` as a process of its own, to be interrupted and killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from .studies import without_seconds

PATIENCE = 60.0
"""Seconds after which a process hangs."""


class Done(NamedTuple):
    """What a process left behind."""

    code: int
    out: str
    err: str


def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    """Begins ``adamtune arguments``."""
    return subprocess.Popen(
        [sys.executable, "-m", "adamtune", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=os.environ | {"COLUMNS": "80"} | environment,
    )


def done(process: subprocess.Popen[str]) -> Done:
    """Waits for its end."""
    out, err = process.communicate(timeout=PATIENCE)
    return Done(process.returncode, out, err)


def adamtune(*arguments: object, **environment: str) -> Done:
    """Runs ``adamtune arguments`` to its end."""
    return done(start(*arguments, **environment))


@contextmanager
def searching(*arguments: object, trials: int = 1) -> Iterator[subprocess.Popen[str]]:
    """A search in which so many trials are finished, and more are under way; killed in the end."""
    process = start(*arguments)
    try:
        assert process.stderr
        for line in process.stderr:
            if "trials, " in line and int(line.partition("/")[0]) >= trials:
                break
        assert process.poll() is None, "the search ended before"
        yield process
    finally:
        process.kill()
        process.communicate()


def kill(process: subprocess.Popen[str]) -> None:
    """As the system ends a process that uses too much memory."""
    assert process.poll() is None, "the search ended before"
    process.kill()
    assert process.wait() == -signal.SIGKILL


def report(storage: Path, name: str = "s") -> dict[str, Any]:
    """The JSON report, but for wall time."""
    ended = adamtune("report", name, "--format", "json", "--storage", storage)
    assert (ended.code, ended.err) == (0, "")
    return without_seconds(ended.out)
