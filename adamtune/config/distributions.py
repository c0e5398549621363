"""Reads the distribution of a hyperparameter or a setting: a value, a list of values, or a range."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from adamtune.catalog import NONE, Hyperparameter
from adamtune.config.aliases import illegal_value, unknown_key
from adamtune.config.numbers import check_float32, check_positive_float32
from adamtune.config.problems import KeyPath, Problems, show
from adamtune.config.space import Choice, Distribution, Fixed, Range
from adamtune.config.validation import adapter, not_null, validate

RANGE_KEYS = ("low", "high", "log")


def legal_type(hyperparameter: Hyperparameter) -> Any:
    """The type of a legal value, with its bounds, for pydantic."""
    if hyperparameter.kind is bool:
        return bool
    bounds: dict[str, Any] = {"allow_inf_nan": False} if hyperparameter.kind is float else {}
    if isfinite(hyperparameter.low):
        bounds["gt" if hyperparameter.open_low else "ge"] = hyperparameter.low
    if isfinite(hyperparameter.high):
        bounds["lt" if hyperparameter.open_high else "le"] = hyperparameter.high
    kind: Any = hyperparameter.kind
    legal = Annotated[kind, Field(**bounds)]
    if hyperparameter.kind is int:
        return legal
    check = check_positive_float32 if hyperparameter.open_low else check_float32
    return Annotated[legal, AfterValidator(check)]


@dataclass(frozen=True)
class DistributionReader:
    """Reads distributions over one type of value.

    Attributes:
        kind: the type of one legal value, with its bounds.
        problems: receives the problems found.
        note: added to what messages say is allowed.
        optional: whether ``NONE`` is legal, too.
    """

    kind: Any
    problems: Problems
    note: str = ""
    optional: bool = False

    def read(self, raw: object, path: KeyPath) -> Distribution | None:
        """The distribution that the file gives as ``raw``, or None after problems are recorded."""
        if isinstance(raw, dict):
            return self._range(raw, path)
        if isinstance(raw, list):
            return self._choice(raw, path)
        value = self._item(raw, path)
        return None if value is None else Fixed(value=value)

    def _item(self, raw: object, path: KeyPath) -> Any:
        return raw if self.optional and raw == NONE else self._value(raw, path)

    def _value(self, raw: object, path: KeyPath) -> Any:
        if raw is None:
            self.problems.add(path, illegal_value(raw, "a value", (NONE,) if self.optional else ()))
            return None
        return validate(self.kind, raw, path, self.problems, self.note)

    def _choice(self, raw: list[object], path: KeyPath) -> Fixed | Choice | None:
        if not raw:
            self.problems.add(path, "found an empty list; allowed: one value or more")
        values = [self._item(each, (*path, index)) for index, each in enumerate(raw)]
        repeated = [index for index, value in enumerate(values) if value in values[:index]]
        for index in (each for each in repeated if values[each] is not None):
            self.problems.add((*path, index), f"found {show(raw[index])} twice; keep one")
        if not values or repeated or None in values:
            return None
        return Choice(values=tuple(values)) if len(values) > 1 else Fixed(value=values[0])

    def _range(self, raw: dict[str, object], path: KeyPath) -> Range | None:
        number = not_null(adapter(self.kind).json_schema()).get("type")
        if number not in ("integer", "number"):
            self.problems.add(path, illegal_value(raw, "a list of values; only numbers have ranges"))
            return None
        unknown = [key for key in raw if key not in RANGE_KEYS]
        for key in unknown:
            self.problems.add((*path, key), unknown_key("key", key, RANGE_KEYS))
        missing = [key for key in ("low", "high") if key not in raw]
        for key in () if unknown else missing:  # an unknown key is likely to be the missing one
            self.problems.add(path, f"is missing {key!r}; a range is {{low: 0.1, high: 0.5, log: true}}")
        low, high = (
            None if key in missing else self._value(raw[key], (*path, key)) for key in ("low", "high")
        )
        log = validate(bool, raw.get("log", False), (*path, "log"), self.problems)
        if low is None or high is None or log is None:
            return None
        if low >= high:
            allowed = f"less than high, which is {show(raw['high'])}"
            self.problems.add((*path, "low"), illegal_value(raw["low"], allowed))
            return None
        if log and low <= 0:
            allowed = "above 0, because the range is logarithmic"
            self.problems.add((*path, "low"), illegal_value(raw["low"], allowed))
            return None
        return Range(low=low, high=high, log=log, integer=number == "integer")
