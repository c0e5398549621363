"""Arguments and options that several commands share, and what they need of the shell."""

from __future__ import annotations

import gc
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from adamtune.errors import AdamtuneError, UsageError
from adamtune.storage import location

STORAGE = location.STORAGE


def complete_study(context: typer.Context, incomplete: str) -> list[str]:
    """The names of the studies that start with ``incomplete``, for completion in the shell."""
    from adamtune.storage.studies import list_studies

    try:
        found = list_studies(context.params.get("storage") or STORAGE)
    except AdamtuneError:  # the shell has no place for a message; the command itself will print it
        return []
    return [study.name for study in found if study.name.startswith(incomplete)]


STUDY = typer.Argument(metavar="STUDY", help="Name of the study", autocompletion=complete_study)

Study = Annotated[str, STUDY]
Storage = Annotated[
    str,
    typer.Option("--storage", metavar="FILE|URL", help="Database file or URL of the studies"),
]
Trials = Annotated[
    str | None,  # the reader of study files checks the values of these options, with its own messages
    typer.Option("--trials", metavar="N", help="Total number of trials, including earlier runs"),
]
Timeout = Annotated[
    str | None,
    typer.Option("--timeout", metavar="TIME", help="Save and stop after this time, for example 90s or 30m"),
]

Confirm = Annotated[
    str | None,
    typer.Option(
        "--confirm",
        metavar="auto|off|small|full|N",
        help="How many trainings on fresh seeds compare the best trials with the baseline",
    ),
]
NoConfirm = Annotated[bool, typer.Option("--no-confirm", help="The same as --confirm off")]

Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS|auto|local|none",
        help="Train on a Ray cluster: of this address, the one that runs here, or one for this run; none is"
        " this machine",
    ),
]

LogTo = Annotated[
    list[str] | None,
    typer.Option(
        "--log-to",
        metavar="KIND:PLACE",
        help="Export the trials while the search runs, as export --to does; may be repeated",
    ),
]

Report = Annotated[
    str | None,
    typer.Option("--report", metavar="FILE", help="Write the HTML page here, again while the search runs"),
]


def confirmation(confirm: str | None, no_confirm: bool) -> dict[str, object]:
    """The override that ``--confirm`` and ``--no-confirm`` are."""
    return given({"search.confirm": "off" if no_confirm else confirm})


def on_ray(address: str | None) -> dict[str, object]:
    """The override that ``--ray`` is. Raises UsageError if the address is empty."""
    if address is not None and not address.strip():
        raise UsageError(
            f"--ray: found '{address}'; allowed: the address of a Ray cluster, auto for the one that runs"
            " here, local for one of this run, none for this machine"
        )
    return given({"cluster": f"ray:{address}" if address not in (None, "none") else address})


def program() -> str:
    """The command that starts this program: ``adamtune`` if PATH has it, else the command of this process."""
    started = Path(sys.argv[0])
    # The commands that are printed are to be pasted, so they must start this installation.
    if started.parts[-2:] == ("adamtune", "__main__.py"):
        return shlex.join([sys.orig_argv[0], "-m", "adamtune"])
    on_path = shutil.which("adamtune")
    if started.stem == "adamtune" and not (on_path and Path(on_path).samefile(started)):
        return shlex.quote(sys.argv[0])
    return "adamtune"


def say(text: str, err: bool = False) -> None:
    """Prints a paragraph: on a terminal in lines of its width, elsewhere on one line."""
    stream = sys.stderr if err else sys.stdout
    if stream is not None and stream.isatty():
        from adamtune.reports.text import paragraph

        text = "\n".join(paragraph(text, shutil.get_terminal_size().columns))
    typer.echo(text, err=err)


def given(overrides: Mapping[str, object]) -> dict[str, object]:
    """The overrides of a study file without those whose option was not given (None)."""
    return {key: value for key, value in overrides.items() if value is not None}


@contextmanager
def slow_imports() -> Iterator[None]:
    """Runs imports that take seconds: Ctrl-C ends the process at once, and no garbage is collected.

    A KeyboardInterrupt inside the import of a C extension may crash the process. The imports make hundreds
    of thousands of objects that stay; to search them for cycles takes a quarter of a second.
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
            # The objects of the imports stay until the end, so the collector may skip them from now on.
            gc.freeze()
        if collecting:
            gc.enable()
