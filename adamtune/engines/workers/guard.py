"""A process that kills the processes of a search when the search dies, even by SIGKILL.

It is run as a script by the search, which tells it the process groups that it starts (``+GROUP``) and that
ended (``-GROUP``) through the guard's standard input. The end of that input is the end of the search.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

MARK = "ADAMTUNE_PROCESS"
"""An environment variable of every process that a search starts, and of all that these start."""
MOST_SCANS, SCAN_SECONDS = 100, 0.005


def kill(groups: Iterable[int], mark: str) -> None:
    """Kills process groups, and on Linux all processes that inherited a mark, whatever group they are in.

    Args:
        groups: ids of process groups; those that have ended are left out.
        mark: what the value of ``MARK`` begins with.
    """
    for group in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    for _ in range(MOST_SCANS):  # a process may be starting others
        found = _marked(mark)
        if not found:
            return
        for process in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        time.sleep(SCAN_SECONDS)


def _marked(mark: str) -> list[int]:
    """The processes whose environment has a mark; those that only wait to be reaped have none."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            environment = (folder / "environ").read_bytes()
            if environment.startswith(wanted) or b"\0" + wanted in environment:
                found.append(int(folder.name))
    return found


def main(mark: str) -> None:
    """Waits for the end of the search, and kills what it has left."""
    groups: set[int] = set()
    for line in sys.stdin:
        change = groups.add if line[0] == "+" else groups.discard
        change(int(line[1:]))
    kill(groups, mark)


if __name__ == "__main__":
    main(sys.argv[1])
