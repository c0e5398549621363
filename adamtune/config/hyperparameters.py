"""How a hyperparameter may be written: by its name or as ``one_minus_<name>``, within legal bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Annotated, Any

from pydantic import Field

from adamtune.catalog import Entry, Hyperparameter
from adamtune.config.problems import KeyPath, Problems, found, show, unknown
from adamtune.config.space import Choice, Distribution, Fixed, Range
from adamtune.config.validation import adapter, not_null, validate

ONE_MINUS = "one_minus_"
LEAST_COMPLEMENT = 1e-12
"""1 minus anything much smaller is 1 in float64, which is no legal decay."""


def complement(plain: Hyperparameter) -> Hyperparameter:
    """``beta1`` as ``one_minus_beta1``."""
    return replace(
        plain,
        name=ONE_MINUS + plain.name,
        default=1 - plain.default,
        low=max(1 - plain.high, LEAST_COMPLEMENT),
        high=1 - plain.low,
        open_low=False,
        open_high=plain.open_low,
        summary=f"1 - {plain.name}",
    )


def forms(plain: Hyperparameter) -> tuple[Hyperparameter, ...]:
    """Every way to write a hyperparameter, its own name first."""
    return (plain, complement(plain)) if plain.complement else (plain,)


def writable(entry: Entry) -> dict[str, Hyperparameter]:
    """Everything that may be written for an optimizer or a schedule, by name."""
    return {form.name: form for plain in entry.hyperparameters for form in forms(plain)}


def as_trained(name: str, value: Any) -> tuple[str, Any]:
    """A hyperparameter as searched, as the optimizer takes it: ``one_minus_beta1`` 0.1 is ``beta1`` 0.9."""
    return (name.removeprefix(ONE_MINUS), 1 - value) if name.startswith(ONE_MINUS) else (name, value)


def legal_type(hyperparameter: Hyperparameter) -> Any:
    """The type of a legal value, bounds included, as pydantic reads it."""
    if hyperparameter.kind is bool:
        return bool
    bounds: dict[str, Any] = {"allow_inf_nan": False} if hyperparameter.kind is float else {}
    if isfinite(hyperparameter.low):
        bounds["gt" if hyperparameter.open_low else "ge"] = hyperparameter.low
    if isfinite(hyperparameter.high):
        bounds["lt" if hyperparameter.open_high else "le"] = hyperparameter.high
    return Annotated[hyperparameter.kind, Field(**bounds)]


def having(name: str, catalog: Mapping[str, Entry]) -> list[str]:
    """The optimizers or schedules that have what is written ``name``."""
    return [entry.name for entry in catalog.values() if name in writable(entry)]


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
