"""What a searched or fixed value may be: the leaves of the search space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice, product
from typing import Any

from pydantic import BaseModel, ConfigDict

Value = bool | int | float | str | tuple[Any, ...] | None
"""A hyperparameter is a number or a switch; a task's setting may be text or a tuple too."""


class Frozen(BaseModel):
    """A model that does not change and takes no unknown key."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Fixed(Frozen):
    """One value: not searched."""

    value: Value

    def written(self) -> object:
        """As the study file writes it."""
        return self.value

    def extremes(self) -> tuple[Value, ...]:
        """The values that decide whether all are legal."""
        return (self.value,)


class Choice(Frozen):
    """One of two or more different values, in no particular order."""

    values: tuple[Value, ...]

    def written(self) -> object:
        """As the study file writes it."""
        return self.values

    def extremes(self) -> tuple[Value, ...]:
        """The values that decide whether all are legal."""
        return self.values


class Range(Frozen):
    """A number from ``low`` to ``high``, both included and low < high; both are ints if ``integer``.

    Attributes:
        log: whether equal ratios are equally likely, not equal differences; then low > 0.
    """

    low: float | int
    high: float | int
    log: bool = False
    integer: bool = False

    def written(self) -> object:
        """As the study file writes it."""
        return {"low": self.low, "high": self.high, "log": self.log}

    def extremes(self) -> tuple[Value, ...]:
        """The values that decide whether all are legal."""
        return (self.low, self.high)


Distribution = Fixed | Choice | Range

MOST_COMBINATIONS = 1000
"""More are not checked one by one: a study file is read in a moment."""


def combinations(distributions: Mapping[str, Distribution]) -> Iterator[dict[str, Any]]:
    """The combinations of extreme values that decide whether all go together."""
    values = product(*(each.extremes() for each in distributions.values()))
    return (dict(zip(distributions, each, strict=True)) for each in islice(values, MOST_COMBINATIONS))
