"""What goes wrong while a task is trained, in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from adamtune.errors import AdamtuneError


@contextmanager
def training_faults(study: str) -> Iterator[None]:
    """Turns what a task raises into a message; what was committed before is kept.

    Raises:
        AdamtuneError: the task raised, or the memory is used up.
    """
    try:
        yield
    except AdamtuneError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
        if _out_of_memory(error):
            raise AdamtuneError(
                f"study {study}: the memory is used up ({reason}). What was committed is kept. Set a smaller"
                " population in the study file, a smaller model or batch, and use another --name."
            ) from error
        raise AdamtuneError(
            f"study {study}: the task failed: {reason}. What was committed is kept: mend the task, then run"
            " the same command again (--debug shows where it failed)."
        ) from error


def _out_of_memory(error: Exception) -> bool:
    # On a CPU torch raises a bare RuntimeError, which only its words tell from others.
    words = ("can't allocate memory", "not enough memory", "out of memory")
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or (isinstance(error, RuntimeError) and any(each in str(error).lower() for each in words))
