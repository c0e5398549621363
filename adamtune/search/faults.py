"""What goes wrong while a task is trained, in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from adamtune.errors import AdamtuneError, first_line, memory_error, origin


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
        memory = memory_error(error)
        if memory is not None:
            raise AdamtuneError(
                f"study {study}: the memory is used up ({_said(memory)}). What was committed is kept. Set a"
                " smaller population in the study file, a smaller model or batch, and use another name."
            ) from error
        place, advice = origin(error), "search again (the traceback shows where it failed)"
        said = f"{place}: {_said(error)}" if place else _said(error)
        if place is not None:
            advice = "search under another name, because trials of different code do not compare"
        raise AdamtuneError(
            f"study {study}: the task failed: {said}. What was committed"
            f" is kept: mend the task, then {advice}."
        ) from error


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {first_line(error)}"
