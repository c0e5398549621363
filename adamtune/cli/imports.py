"""Imports that take seconds."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def slow_imports() -> Iterator[None]:
    """While they run, Ctrl-C ends the process at once: an exception in the midst of one may crash it.

    Nor are cycles looked for, then or later, among the hundred thousands of objects that they make and
    that stay: that takes a quarter of a second.
    """
    new = "torch" not in sys.modules
    previous = signal.signal(signal.SIGINT, signal.SIG_DFL)
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
        if new:
            gc.freeze()
        if collecting:
            gc.enable()
