"""Finds the reports in what a command prints: one line of JSON each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from math import nan
from typing import NamedTuple

LONGEST = 2**16
"""A longer line is no report. It is not kept in memory."""


class Report(NamedTuple):
    """The metrics after a step, by name."""

    step: int
    metrics: Mapping[str, float]


def read_report(line: bytes, metrics: Iterable[str]) -> Report | None:
    """The report of a line such as ``{"step": 100, "val_loss": 0.31}``; None if it is no report.

    A metric that is null, as JSON writes NaN, is NaN.

    Args:
        line: the line.
        metrics: the metrics that a report has; it may have others, which are left out.
    """
    try:
        found = json.loads(line)
        step = found["step"]
        values = {name: nan if found[name] is None else float(found[name]) for name in metrics}
        is_legal = not isinstance(step, bool | str) and step == int(step) and step > 0
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    return Report(int(step), values) if is_legal else None


class ReportReader:
    """Reads lines; reports are returned, and all other output is passed on.

    Args:
        metrics: the metrics that a report has.
        write: takes the output that is no report.
    """

    def __init__(self, metrics: Iterable[str], write: Callable[[bytes], object]) -> None:
        self._metrics, self._write = tuple(metrics), write
        self._line = b""
        self._is_long = False

    def feed(self, data: bytes) -> list[Report]:
        """The reports of the lines that end in ``data``."""
        *lines, rest = (self._line + data).split(b"\n")
        self._line = b""
        reports, others = [], []
        for line in lines:
            report = None if self._is_long or b"{" not in line else read_report(line, self._metrics)
            self._is_long = False
            if report is None:
                others.append(line + b"\n")
            else:
                reports.append(report)
        if self._is_long or len(rest) > LONGEST:
            others.append(rest)
            self._is_long = True
        else:
            self._line = rest
        if others:
            self._write(b"".join(others))
        return reports

    def finish(self) -> list[Report]:
        """The report of the last line, if it has no line break."""
        return self.feed(b"\n") if self._line else []
