"""What the command lines of the benchmarks share."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """A parser whose help shows the benchmark's own description as it was written."""
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_tasks(parser: argparse.ArgumentParser, names: Collection[str]) -> None:
    """Tasks to measure; none means all."""
    # argparse holds the empty list, too, against the choices.
    parser.add_argument("tasks", nargs="*", choices=[*names, []], metavar="TASK", help=", ".join(names))


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Settings of the task."""
    parser.add_argument(
        "--settings", type=json.loads, default={}, metavar="JSON", help="the task's settings, as JSON"
    )


def add_rounds(parser: argparse.ArgumentParser) -> None:
    """How often, and for how long, to measure."""
    parser.add_argument("--rounds", type=int, default=3, help="3 by default; the median counts")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each steady state; 5 by default")
