"""Every error that adamtune raises on purpose, and the exit code each one means.

::

    AdamtuneError            1   the run failed: what happened, what was kept, what to do next
    ├── UsageError           2   the command line is wrong
    │   └── StudyFileError   2   the study file is wrong: every problem of it at once
    └── Refused              3   refused to protect data

A command that succeeds exits with 0, one that Ctrl-C or SIGTERM interrupted with 130. A check exits with 4
(``FAILED``) where what it checks does not hold, and with 5 (``INCONCLUSIVE``) where that cannot be told. The
command line prints the message alone; ``--debug`` adds the traceback.
"""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from traceback import extract_tb

FAILED, INCONCLUSIVE = 4, 5
"""The exit codes of a check that did not pass. They are no errors: the command has done what it was asked."""


class AdamtuneError(Exception):
    """A failure that a user can act on: the message says what happened and what to do next."""

    exit_code = 1


class UsageError(AdamtuneError):
    """The command line or an argument is wrong."""

    exit_code = 2


class StudyFileError(UsageError):
    """A study file is wrong.

    Args:
        problems: one message for each problem, in the order of the file: ``FILE:LINE: KEY: MESSAGE``.
        report: the problems for people; by default one on each line.
    """

    def __init__(self, problems: Sequence[str], report: str = "") -> None:
        self.problems = tuple(problems)
        super().__init__(report or "\n".join(self.problems))


class Refused(AdamtuneError):
    """Going on would damage data: the study exists with other settings, or another process runs it."""

    exit_code = 3


def memory_error(error: BaseException | None) -> BaseException | None:
    """``error``, or what caused it, if that says that the memory is used up; else None."""
    while error is not None and not _says_out_of_memory(error):
        error = error.__cause__
    return error


def _says_out_of_memory(error: BaseException) -> bool:
    # On a CPU torch raises a bare RuntimeError, which only its words tell from others.
    words = ("can't allocate memory", "not enough memory", "out of memory")
    found = isinstance(error, RuntimeError) and any(each in str(error).lower() for each in words)
    return found or isinstance(error, MemoryError)


def first_line(error: BaseException) -> str:
    """The first line of an error's message; without one, the line of code that raised it."""
    raised = extract_tb(error.__traceback__)
    return next(iter(str(error).strip().splitlines()), (raised[-1].line if raised else "") or "no message")


def origin(error: BaseException) -> str | None:
    """Where the user's code was when an error was raised, as ``FILE:LINE``.

    That is the innermost call outside of the installed packages and this one; if there is none, the innermost
    outside of torch and this package; None if there is none either.
    An error of another process has it as ``raised_at``.
    """
    if hasattr(error, "raised_at"):
        return error.raised_at  # type: ignore[no-any-return]
    frames = [(each.filename, each.lineno) for each in extract_tb(error.__traceback__)]
    packages = [str(Path(__file__).parent), *(f"{os.sep}{name}{os.sep}" for name in ("torch", "concurrent"))]
    others = [each for each in frames if not any(package in each[0] for package in packages)]
    installed = ("site-packages", "dist-packages", sysconfig.get_path("stdlib"), "<")
    own = [each for each in others if not any(place in each[0] for place in installed)]
    found = (own or [each for each in others if not each[0].startswith("<")])[-1:]
    return f"{found[0][0]}:{found[0][1]}" if found else None
