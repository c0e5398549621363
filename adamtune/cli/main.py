"""The ``adamtune`` program: its commands, and the exit codes of their errors."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from adamtune import __version__
from adamtune.cli.check import check
from adamtune.cli.delete import delete
from adamtune.cli.export import export
from adamtune.cli.init import init
from adamtune.cli.report import report
from adamtune.cli.resume import resume
from adamtune.cli.schema import schema
from adamtune.cli.search import search
from adamtune.cli.studies import studies
from adamtune.cli.tasks import tasks
from adamtune.cli.validate import validate
from adamtune.errors import AdamtuneError, UsageError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (init, search, resume, report, export, check, studies, tasks, validate, schema, delete):
    app.command(no_args_is_help=False)(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"adamtune {__version__}")
        raise typer.Exit


@app.callback()
def adamtune(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error")] = False,
) -> None:
    """Find the Adam settings that train a model best.

    "adamtune init" writes a study file and a model to begin with. A small study file, study.yaml:

    \b
      name: first
      task: mlp
      space:
        lr: {low: 1e-4, high: 1e-1, log: true}
      search: {trials: 30}

    Run it: adamtune search study.yaml
    """


def main() -> None:
    """Runs the command line and ends the process with its exit code."""
    code = run(sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # everything is said: Ctrl-C shows no traceback any more
    gc.freeze()  # or the interpreter looks for cycles, for a third of a second, before it ends
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code; messages go to stderr, a traceback if --debug."""
    debug = "--debug" in arguments
    for stream in (sys.stdout, sys.stderr):
        # Tests and embedding programs replace the streams by others, which have no encoding.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a curve must not end a program on an ASCII terminal
    try:
        try:
            _check_text(arguments)
            # --debug is taken out here, because users write it anywhere, and Typer accepts it only before the
            # command.
            app([each for each in arguments if each != "--debug"], prog_name="adamtune")
        finally:
            if sys.stdout is not None:  # as after ``>&-``
                sys.stdout.flush()
        return 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return 1
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        return 130
    except AdamtuneError as error:
        return _fail(str(error), error.exit_code, debug)
    except OSError as error:  # a full disk under the output, a path that is too long
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), 1, debug)
    except Exception as error:
        message = f"adamtune failed: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
        return _fail(message if debug else f"{message} (run again with --debug to see where)", 1, debug)


def _check_text(arguments: Sequence[str]) -> None:
    """Raises UsageError for an argument that is no text: files, databases and JSON could not hold it."""
    for each in arguments:
        if "\0" in each or each != each.encode(errors="replace").decode():
            raise UsageError(f"{each!r}: this argument is not UTF-8 text. Rename the file or study to UTF-8.")


def _fail(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    typer.echo(message, err=True)
    return code
