"""Arguments and options that several commands share."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated

import typer

from adamtune.errors import AdamtuneError

STORAGE = "runs/adamtune.db"


def complete_study(context: typer.Context, incomplete: str) -> list[str]:
    """The names of the storage's studies that begin with ``incomplete``, for the shell."""
    from adamtune.storage.reading import list_studies

    try:
        found = list_studies(context.params.get("storage") or STORAGE)
    except AdamtuneError:  # a shell that completes has no place for a message; the command will give it
        return []
    return [study.name for study in found if study.name.startswith(incomplete)]


STUDY = typer.Argument(metavar="STUDY", help="The study's name.", autocompletion=complete_study)

Study = Annotated[str, STUDY]
Storage = Annotated[
    str,
    typer.Option("--storage", metavar="FILE|URL", help="Where studies are kept: a file, or a database URL."),
]
Trials = Annotated[
    str | None,  # the reader of study files checks the values of these options, with its own messages
    typer.Option("--trials", metavar="N", help="The study's total of trials, earlier runs included."),
]
Timeout = Annotated[
    str | None,
    typer.Option("--timeout", metavar="TIME", help="End cleanly after this time, such as 90s or 30m."),
]


def given(overrides: Mapping[str, object]) -> dict[str, object]:
    """The overrides of a study file whose option was given."""
    return {key: value for key, value in overrides.items() if value is not None}


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
