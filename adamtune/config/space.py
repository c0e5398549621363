"""The search space: a distribution over the values of every hyperparameter and searched task setting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import combinations as pairs
from itertools import islice, product
from math import inf, log, prod
from random import Random
from typing import Any

from pydantic import BaseModel, ConfigDict

Value = bool | int | float | str | tuple[Any, ...] | dict[str, Any] | None
"""A hyperparameter is a number or a boolean; a task's setting may be text, a tuple or a mapping too."""


class Frozen(BaseModel):
    """An immutable pydantic model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Fixed(Frozen):
    """One value, which is not searched."""

    value: Value

    @property
    def countable(self) -> Sequence[Value]:
        """Every value."""
        return (self.value,)

    def file_value(self) -> object:
        """The distribution in the notation of study files."""
        return self.value

    def extremes(self) -> tuple[Value, ...]:
        """The values that are all legal only if every value of the distribution is."""
        return (self.value,)


class Choice(Frozen):
    """One of two or more different values, which have no order."""

    values: tuple[Value, ...]

    @property
    def countable(self) -> Sequence[Value]:
        """Every value."""
        return self.values

    def file_value(self) -> object:
        """The distribution in the notation of study files."""
        return self.values

    def extremes(self) -> tuple[Value, ...]:
        """The values that are all legal only if every value of the distribution is."""
        return self.values


class Range(Frozen):
    """A number from ``low`` to ``high``.

    Attributes:
        low, high: the ends, both included; low < high. They are ints if ``integer``.
        log: whether equal ratios are equally likely, instead of equal differences; then low > 0.
        integer: whether only integers are suggested.
    """

    low: float | int
    high: float | int
    log: bool = False
    integer: bool = False

    @property
    def countable(self) -> Sequence[Value] | None:
        """Every value; None for real numbers."""
        return range(int(self.low), int(self.high) + 1) if self.integer else None

    def file_value(self) -> object:
        """The distribution in the notation of study files."""
        return {"low": self.low, "high": self.high, "log": self.log}

    def place(self, value: float) -> float:
        """Where a value lies: 0 at the lower end, 1 at the upper, beyond them outside the range."""
        if self.log:
            return log(value / self.low) / log(self.high / self.low) if value > 0 else -inf
        return (value - self.low) / (self.high - self.low)

    def extremes(self) -> tuple[Value, ...]:
        """The values that are all legal only if every value of the distribution is."""
        return (self.low, self.high)


Distribution = Fixed | Choice | Range

MOST_COMBINATIONS = 1000
"""A reader checks this many combinations one by one, so that it takes a moment for any file."""
MOST_SETTINGS = 20_000
"""The same for combinations of a task's settings, of which every whole number counts."""


def combinations(distributions: Mapping[str, Distribution]) -> Iterator[dict[str, Any]]:
    """The combinations of extreme values, at most ``MOST_COMBINATIONS``.

    Args:
        distributions: by name.

    Returns:
        Dicts of one value for each name.
    """
    values = product(*(each.extremes() for each in distributions.values()))
    return (dict(zip(distributions, each, strict=True)) for each in islice(values, MOST_COMBINATIONS))


def all_combinations(distributions: Mapping[str, Distribution]) -> Iterator[dict[str, Any]]:
    """The combinations of all whole numbers and choices, and of the ends of ranges of real numbers.

    If there are more than ``MOST_SETTINGS``, they are every value, the combinations of each two settings up
    to that number, and as many random combinations.

    Args:
        distributions: by name.

    Returns:
        Dicts of one value for each name.
    """
    values = {name: each.countable or each.extremes() for name, each in distributions.items()}
    if prod(map(len, values.values())) <= MOST_SETTINGS:
        yield from (dict(zip(values, each, strict=True)) for each in product(*values.values()))
        return
    first = {name: each[0] for name, each in values.items()}
    for name, own in values.items():
        yield from (first | {name: value} for value in own)
    for names in pairs(values, 2):
        both = islice(product(*(values[name] for name in names)), MOST_SETTINGS)
        yield from (first | dict(zip(names, each, strict=True)) for each in both)
    draw = Random(0)
    for _ in range(MOST_SETTINGS):
        yield {name: draw.choice(each) for name, each in values.items()}


class Space(Frozen):
    """The distribution of everything that a trial is trained with, defaults included.

    The names are those of the study file: ``one_minus_beta1`` replaces ``beta1`` where the file has that
    (``as_trained`` turns it back). A hyperparameter that the file gives has one distribution under every
    optimizer that has it; one that the file leaves out is fixed at each optimizer's own default.

    Attributes:
        optimizers: every optimizer of the study, with all its hyperparameters in the catalog's order.
        schedules: every schedule of the study, likewise.
        task: the searched settings of the task; ``study.task.settings`` has the others.
        training: the hyperparameters of ``catalog.TRAINING`` that are not fixed at their defaults.
    """

    optimizers: Mapping[str, Mapping[str, Distribution]]
    schedules: Mapping[str, Mapping[str, Distribution]]
    task: Mapping[str, Distribution]
    training: Mapping[str, Distribution] = {}

    @property
    def optimizer(self) -> Distribution:
        """The distribution over the names of the optimizers."""
        return _names(self.optimizers)

    @property
    def schedule(self) -> Distribution:
        """The distribution over the names of the schedules."""
        return _names(self.schedules)

    @cached_property
    def searched(self) -> dict[str, Distribution]:
        """Every distribution that is searched, by name.

        ``optimizer`` and ``schedule`` are among them where the study has several.
        """
        named = {"optimizer": self.optimizer, "schedule": self.schedule}
        named |= {path[-1]: each for _, path, each in self.distributions() if not isinstance(each, Fixed)}
        return {name: each for name, each in named.items() if not isinstance(each, Fixed)}

    @property
    def combinations(self) -> int | None:
        """How many different settings a trial may have; None where a real number is searched."""
        spaces = product(self.optimizers.values(), self.schedules.values())
        merged = [{**its, **its_own, **self.training, **self.task}.values() for its, its_own in spaces]
        if any(each.countable is None for some in merged for each in some):
            return None
        return sum(prod(len(each.countable or ()) for each in some) for some in merged)

    def distributions(self) -> Iterator[tuple[str, tuple[str, ...], Distribution]]:
        """Every hyperparameter and searched setting.

        Returns:
            Tuples of the optimizer or schedule that has it ("" if none has), its key path in the file, and
            its distribution.
        """
        for group, prefix in ((self.optimizers, ("space",)), (self.schedules, ("space", "schedule"))):
            for owner, hyperparameters in group.items():
                yield from ((owner, (*prefix, name), each) for name, each in hyperparameters.items())
        yield from (("", ("space", name), each) for name, each in self.training.items())
        yield from (("", ("space", "task", name), each) for name, each in self.task.items())


def _names(group: Mapping[str, object]) -> Distribution:
    names = tuple(group)
    return Choice(values=names) if len(names) > 1 else Fixed(value=names[0])
