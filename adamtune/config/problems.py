"""The problems of a study file, collected with their places and rendered as one line each."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from adamtune.errors import StudyFileError

KeyPath = tuple[str | int, ...]
"""Where a value lies in the file: ``("space", "lr", "low")``."""

Mark = tuple[int, int]
"""Line and column, both from 1."""

LONGEST = 80
"""A value found is shown up to this many characters."""

LEAST_LIKENESS = 0.6
"""How alike two names must be for the one to be suggested for the other, from 0 to 1."""


def dotted(path: KeyPath) -> str:
    """``("space", "schedule", "name", 0)`` as ``space.schedule.name[0]``."""
    return "".join(map(_step, path)).removeprefix(".")


def _step(key: str | int) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    return f".{key}" if key.isprintable() else f".{key!r}"


def show(value: object) -> str:
    """A value as people write it in a study file; text is quoted, nothing is ``nothing``."""
    match value:
        case None:
            shown = "nothing"
        case bool():
            shown = str(value).lower()
        case str():
            shown = repr(value)
        case Mapping():
            shown = "{" + ", ".join(f"{key}: {show(each)}" for key, each in value.items()) + "}"
        case list() | tuple():
            shown = "[" + ", ".join(map(show, value)) + "]"
        case _:
            shown = json.dumps(value, default=str)
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 3] + "..."


def suggestion(name: str, names: Collection[str]) -> str:
    """``did you mean 'adamw'? `` or nothing, for a name that is not among ``names``."""
    likeness = {each: SequenceMatcher(None, each, name.lower()).ratio() for each in names}
    best = max(likeness.values(), default=0.0)
    if best < LEAST_LIKENESS:
        return ""
    # Of near equals, the likeliest is as long and starts alike: for adamv adamw, not adam or radam.
    near = [each for each in names if likeness[each] > best - 0.1]
    return f"did you mean {min(near, key=lambda each: (abs(len(each) - len(name)), each[0] != name[0]))!r}? "


def unknown(what: str, name: str, names: Collection[str]) -> str:
    """The message for a name that is not among ``names``, with the nearest one."""
    return f"unknown {what} {name!r}; {suggestion(name, names)}allowed: {', '.join(names)}"


def found(value: object, allowed: str, names: Collection[str] = ()) -> str:
    """The message for a value that is not legal, with the nearest of the legal ``names`` if it has such."""
    hint = suggestion(value, names) if isinstance(value, str) else ""
    return f"found {show(value)}; {hint}allowed: {allowed}"


def _heads(path: KeyPath) -> list[KeyPath]:
    """The path itself, then everything that holds it, up to the whole file."""
    return [path[:length] for length in range(len(path), -1, -1)]


@dataclass
class Problems:
    """Collects the problems of one file, so that all are reported at once.

    Attributes:
        source: the file's name, as messages give it.
        marks: where each key path stands.
        options: the command-line option that gave a key path its value, where one did.
    """

    source: str
    marks: dict[KeyPath, Mark] = field(default_factory=dict)
    options: dict[KeyPath, str] = field(default_factory=dict)
    _rendered: dict[str, Mark] = field(default_factory=dict)

    def add(self, path: KeyPath, message: str, mark: Mark | None = None) -> None:
        """Records a problem at ``path``, which stands at ``mark`` or where the file has it."""
        for option in (self.options[head] for head in _heads(path) if head in self.options):
            self._rendered.setdefault(f"{option}: {message}", (0, 0))
            return
        mark = mark or self.locate(path)
        place = f" {dotted(path)}:" if path else ""
        self._rendered.setdefault(f"{self.source}:{mark[0]}:{place} {message}", mark)

    def locate(self, path: KeyPath) -> Mark:
        """Where ``path`` stands, or else the nearest part of the file that holds it."""
        return next((self.marks[head] for head in _heads(path) if head in self.marks), (1, 1))

    def raise_if_any(self) -> None:
        """Raises StudyFileError with every problem recorded, in the order of the file."""
        if self._rendered:
            raise StudyFileError(sorted(self._rendered, key=lambda message: self._rendered[message]))
