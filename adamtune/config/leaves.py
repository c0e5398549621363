"""Reading the leaves of the space: a number is fixed, a list is a choice, low and high are a range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adamtune.config.distributions import Choice, Distribution, Fixed, Range
from adamtune.config.problems import KeyPath, Problems, found, show, unknown
from adamtune.config.validation import adapter, not_null, validate

RANGE_KEYS = ("low", "high", "log")


@dataclass(frozen=True)
class LeafReader:
    """Reads distributions over one kind of value; problems are recorded, and give None.

    Attributes:
        kind: the type of one legal value, bounds included.
        note: added to what messages say is allowed.
    """

    kind: Any
    problems: Problems
    note: str = ""

    def read(self, raw: object, path: KeyPath) -> Distribution | None:
        """What ``raw``, which stands at ``path``, says."""
        if isinstance(raw, dict):
            return self._range(raw, path)
        if isinstance(raw, list):
            return self._choice(raw, path)
        value = self._value(raw, path)
        return None if value is None else Fixed(value=value)

    def _value(self, raw: object, path: KeyPath) -> Any:
        if raw is None:
            self.problems.add(path, found(raw, "a value"))
            return None
        return validate(self.kind, raw, path, self.problems, self.note)

    def _choice(self, raw: list[object], path: KeyPath) -> Fixed | Choice | None:
        if not raw:
            self.problems.add(path, "found an empty list; allowed: one value or more")
        values = [self._value(each, (*path, index)) for index, each in enumerate(raw)]
        repeated = [index for index, value in enumerate(values) if value in values[:index]]
        for index in repeated:
            self.problems.add((*path, index), f"found {show(values[index])} twice; keep one")
        if not values or repeated or None in values:
            return None
        return Choice(values=tuple(values)) if len(values) > 1 else Fixed(value=values[0])

    def _range(self, raw: dict[str, object], path: KeyPath) -> Range | None:
        number = not_null(adapter(self.kind).json_schema()).get("type")
        if number not in ("integer", "number"):
            self.problems.add(path, found(raw, "a list of values; only numbers have ranges"))
            return None
        for key in raw:
            if key not in RANGE_KEYS:
                self.problems.add((*path, key), unknown("key", key, RANGE_KEYS))
        low, high = self._end("low", raw, path), self._end("high", raw, path)
        log = validate(bool, raw.get("log", False), (*path, "log"), self.problems)
        if low is None or high is None or log is None:
            return None
        return self._ordered(Range(low=low, high=high, log=log, integer=number == "integer"), path)

    def _end(self, key: str, raw: dict[str, object], path: KeyPath) -> Any:
        if key not in raw:
            self.problems.add(path, f"is missing {key!r}; a range is {{low: 0.1, high: 0.5, log: true}}")
            return None
        return self._value(raw[key], (*path, key))

    def _ordered(self, span: Range, path: KeyPath) -> Range | None:
        if span.low >= span.high:
            self.problems.add((*path, "low"), found(span.low, f"less than high, which is {show(span.high)}"))
            return None
        if span.log and span.low <= 0:
            self.problems.add((*path, "low"), found(span.low, "above 0, because the range is logarithmic"))
            return None
        return span
