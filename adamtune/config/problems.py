"""The problems of a study file: collected with their places, reported together."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby

from adamtune.config.numbers import NumberLiteral
from adamtune.errors import StudyFileError

KeyPath = tuple[str | int, ...]
"""The keys and list indices that lead to a value of the file: ``("space", "lr", "low")``."""

Mark = tuple[int, int]
"""Line and column, both from 1; (0, 0) is the command line."""

LONGEST_VALUE = 80
LONGEST_LINE = 100
"""Messages show this many characters of a value and of a line of the file, and ``...`` for the rest."""

LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""The line breaks that YAML counts."""


def printable(text: str) -> str:
    """``text`` with control characters and undecodable bytes escaped."""
    return text if text.isprintable() else repr(text)[1:-1]


def dotted(path: KeyPath) -> str:
    """A key path as text: ``("space", "schedule", "name", 0)`` is ``space.schedule.name[0]``."""
    steps = (f"[{key}]" if isinstance(key, int) else f".{printable(key)}" for key in path)
    return "".join(steps).removeprefix(".")


def show(value: object) -> str:
    """A value in the notation of study files; text is quoted, None is ``nothing``."""
    match value:
        case None:
            shown = "nothing"
        case str():
            shown = repr(value)
        case Mapping():
            shown = "{" + ", ".join(f"{key}: {show(each)}" for key, each in value.items()) + "}"
        case list() | tuple():
            shown = "[" + ", ".join(map(show, value)) + "]"
        case NumberLiteral():
            shown = value.text
        case _:
            shown = re.sub(r"(?<=[0-9])e\+?(-?)0*", r"e\1", json.dumps(value, default=str))
    return shown if len(shown) <= LONGEST_VALUE else shown[: LONGEST_VALUE - 3] + "..."


@dataclass
class Problems:
    """Collects the problems of one study file, so that all are reported at once.

    Attributes:
        source: the file's name in messages.
        text: the file's text, from which the report quotes lines.
        marks: where each key path stands.
        options: the command-line option that gave a key path its value, where one did.
    """

    source: str
    text: str = ""
    marks: dict[KeyPath, Mark] = field(default_factory=dict)
    options: dict[KeyPath, str] = field(default_factory=dict)
    _cause: Exception | None = None
    _messages: dict[str, Mark] = field(default_factory=dict)
    _unreadable: set[KeyPath] = field(default_factory=set)

    def add(
        self, path: KeyPath, message: str, mark: Mark | None = None, cause: Exception | None = None
    ) -> None:
        """Records a problem, once.

        Args:
            path: the key path of the value.
            message: the value found and what is allowed, in one line.
            mark: the place in the file, if it is not that of ``path``.
            cause: the error that told of the problem, if one did.
        """
        self._cause = self._cause or cause
        if path in self._unreadable:
            return
        heads = [path[:length] for length in range(len(path), -1, -1)]
        if option := next((self.options[head] for head in heads if head in self.options), None):
            self._messages.setdefault(f"{option}: {message}", (0, 0))
            return
        # A key that is not in the file is reported at the nearest part of the file that would hold it.
        mark = mark or next((self.marks[head] for head in heads if head in self.marks), (1, 1))
        place = f" {dotted(path)}:" if path else ""
        self._messages.setdefault(f"{self.source}:{mark[0]}:{place} {message}", mark)

    def add_unreadable(self, path: KeyPath, message: str) -> None:
        """Records that the value at ``path`` cannot be read; later problems with it are not recorded."""
        self.add(path, message)
        self._unreadable.add(path)

    def raise_if_any(self) -> None:
        """Reports the problems recorded so far.

        Raises:
            StudyFileError: there are problems; they are in the order of the file, options first.
        """
        if self._messages:
            raise StudyFileError(
                sorted(self._messages, key=self._messages.__getitem__), self._report()
            ) from self._cause

    def _report(self) -> str:
        """The problems of each line of the file together, above that line."""
        in_order = sorted(self._messages.items(), key=lambda item: item[1])
        count = sum(mark != (0, 0) for _, mark in in_order)
        lines, source = [], LINE_BREAK.split(self.text)
        for number, items in groupby(in_order, key=lambda item: item[1][0]):
            messages = list(items)
            if number and count:
                lines += [f"{count} problem{'s' * (count > 1)} in {self.source}:"]
                count = 0
            lines += [message for message, _ in messages]
            if number and source[number - 1 : number] > [""]:
                lines += _excerpt(number, source[number - 1], {mark[1] for _, mark in messages})
        return "\n".join(lines)


def _excerpt(number: int, line: str, columns: set[int]) -> list[str]:
    """A line of the file, cut if it is long, and a line with a caret under each of the columns."""
    start = max(0, min(columns) - LONGEST_LINE // 2) if len(line) > LONGEST_LINE else 0
    part = line[start : start + LONGEST_LINE]
    before, after = "..." * (start > 0), "..." * (start + LONGEST_LINE < len(line))
    shown = "".join(each if each.isprintable() else " " for each in part)
    carets = "".join("^" if start + index in columns else " " for index in range(1, len(part) + 2)).rstrip()
    prefix = f"  {number} | "
    return [f"{prefix}{before}{shown}{after}", f"{'| ':>{len(prefix)}}{' ' * len(before)}{carets}"]
