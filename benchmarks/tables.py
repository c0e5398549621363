"""What the benchmarks print: Markdown tables, and the machine they were measured on."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table with aligned columns: text on the left, everything else on the right."""
    written = [[_cell(each) for each in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*written, strict=True)]
    left = [isinstance(each, str) for each in (rows[0] if rows else header)]
    rule = [
        "-" * width if text else "-" * (width - 1) + ":" for width, text in zip(widths, left, strict=True)
    ]
    lines = [
        [
            cell.ljust(width) if text else cell.rjust(width)
            for cell, width, text in zip(row, widths, left, strict=True)
        ]
        for row in written
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))


def _cell(value: object) -> str:
    """Three significant digits, and no exponent."""
    if not isinstance(value, float):
        return "-" if value is None else str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the rounds' ratios."""
    return median(own / other for own, other in zip(ours, theirs, strict=True))


def machine() -> str:
    """The processor, how many of its cores there are to use, and the versions that matter."""
    cores = len(os.sched_getaffinity(0))
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "optuna"))
    return f"{cores} cores of {_processor()}, Python {platform.python_version()}, {versions}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()
