"""What was compiled by ``torch.compile`` is computed as it was written, so that all engines compute alike."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock

import torch

_LOCK = Lock()
_USERS: list[ExitStack] = []


@contextmanager
def eager() -> Iterator[None]:
    """While a thread has entered it, compiled functions, methods and modules are not compiled.

    Compiled code draws other random numbers, and takes longer to compile than small models take to train.
    """
    if "torch._dynamo" not in sys.modules:  # nothing was compiled, and the import takes a second
        yield
        return
    with _LOCK:
        stance = _USERS[0] if _USERS else ExitStack()
        if not _USERS:
            stance.enter_context(torch.compiler.set_stance("force_eager"))
        _USERS.append(stance)
    try:
        yield
    finally:
        with _LOCK:
            _USERS.pop()
            if not _USERS:
                stance.close()
