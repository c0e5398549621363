"""Programs run from the outside, as a user runs them: imports count."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]


class Run(NamedTuple):
    """A program that ended well, and the wall time from its start to its end."""

    seconds: float
    stdout: str

    @property
    def figures(self) -> dict[str, Any]:
        """The line of JSON that a benchmark prints."""
        figures: dict[str, Any] = json.loads(self.stdout)
        return figures


def python(module: str, *arguments: object, interpreter: str = sys.executable) -> Run:
    """``python -m module arguments`` in the root of the checkout.

    Args:
        module: the module.
        arguments: its arguments.
        interpreter: the path of the Python that runs it.

    Raises:
        SystemExit: it failed; with what it wrote to stderr.
    """
    command = [interpreter, "-m", module, *map(str, arguments)]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed with code {done.returncode}:\n{done.stderr}")
    return Run(seconds, done.stdout)


def processor_seconds(*arguments: object, given: str = "") -> float:
    """The seconds of processor time of Python with these arguments, which reads ``given``."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, *map(str, arguments)]
    subprocess.run(command, input=given, text=True, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
