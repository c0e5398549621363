"""Imports that take seconds."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def slow_imports() -> Iterator[None]:
    """While they run, Ctrl-C ends the process at once: an exception in the midst of one may crash it.

    Nor are cycles looked for: there are next to none among some hundred thousand new objects.
    """
    previous = signal.signal(signal.SIGINT, signal.SIG_DFL)
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
        if collecting:
            gc.enable()
