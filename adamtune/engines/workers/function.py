"""The program that calls a user's function; the search starts a process of it for each training.

Messages are lines of JSON on a socket: the search sends the settings of the training, then answers each
message with whether the training continues.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from socket import socket
from types import FrameType
from typing import Any

from adamtune.function import Pruned, Run
from adamtune.tasks.source import find_function


def main(descriptor: int) -> None:
    """Calls the function that the search names.

    Args:
        descriptor: the number of the socket's file descriptor.
    """
    signal.signal(signal.SIGTERM, _end)
    own, lines = os.getpid(), socket(fileno=descriptor).makefile("rw")

    def send(message: Mapping[str, Any]) -> bool:
        lines.write(json.dumps(message) + "\n")
        lines.flush()
        answer = lines.readline()
        if not answer:
            sys.exit("the search has ended")
        return bool(json.loads(answer))

    request = json.loads(lines.readline())
    train = find_function(request["function"])
    run = Run(request["settings"], request["seed"], tuple(train.metrics), Path(request["folder"]), send)
    _seed(run.seed)
    try:
        train(run)
    except Pruned:
        return
    if os.getpid() == own:  # a process that the function forked may return from it, too
        send({"finished": True})


def _end(number: int, frame: FrameType | None) -> None:
    """Ends the process so that ``finally`` and ``with`` are obeyed."""
    sys.exit(128 + number)


def _seed(seed: int) -> None:
    """Seeds the global generators of Python and, where they are loaded, NumPy and torch."""
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
