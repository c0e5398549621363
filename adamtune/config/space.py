"""What a searched or fixed value may be: the leaves of the search space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product
from math import prod
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

    @property
    def countable(self) -> Sequence[Value]:
        """Every value."""
        return (self.value,)

    def written(self) -> object:
        """As the study file writes it."""
        return self.value

    def extremes(self) -> tuple[Value, ...]:
        """The values that decide whether all are legal."""
        return (self.value,)


class Choice(Frozen):
    """One of two or more different values, in no particular order."""

    values: tuple[Value, ...]

    @property
    def countable(self) -> Sequence[Value]:
        """Every value."""
        return self.values

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

    @property
    def countable(self) -> Sequence[Value] | None:
        """Every value; None for real numbers."""
        return range(int(self.low), int(self.high) + 1) if self.integer else None

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


class Space(Frozen):
    """Everything a trial may be trained with. Complete: nothing is left to a default elsewhere.

    The names are those searched: ``one_minus_beta1`` stands in the place of ``beta1`` where the
    study searches that (``as_trained`` turns it back). A name has the same distribution under every
    optimizer that has it, except where it is left out of the file and Fixed at each one's default.

    Attributes:
        optimizers: each optimizer that a trial may use, with every hyperparameter of it in the
            catalog's order.
        schedules: the same for schedules.
        task: the searched settings of the task. A trial's settings are ``study.task.settings`` and these.
    """

    optimizers: Mapping[str, Mapping[str, Distribution]]
    schedules: Mapping[str, Mapping[str, Distribution]]
    task: Mapping[str, Distribution]

    @property
    def optimizer(self) -> Distribution:
        """Which optimizer, as a distribution over names: Fixed where there is one."""
        return _names(self.optimizers)

    @property
    def schedule(self) -> Distribution:
        """Which schedule, as a distribution over names: Fixed where there is one."""
        return _names(self.schedules)

    @property
    def searched(self) -> dict[str, Distribution]:
        """Every distribution that a trial may be asked for, without the fixed ones, by the name searched.

        ``optimizer`` and ``schedule`` are among them where there are several.
        """
        named = {"optimizer": self.optimizer, "schedule": self.schedule}
        named |= {path[-1]: each for _, path, each in self.leaves() if not isinstance(each, Fixed)}
        return {name: each for name, each in named.items() if not isinstance(each, Fixed)}

    @property
    def combinations(self) -> int | None:
        """How many different settings a trial may have; None where a real number is searched."""
        spaces = product(self.optimizers.values(), self.schedules.values())
        merged = [{**its, **its_own, **self.task}.values() for its, its_own in spaces]
        if any(each.countable is None for some in merged for each in some):
            return None
        return sum(prod(len(each.countable or ()) for each in some) for some in merged)

    def leaves(self) -> Iterator[tuple[str, tuple[str, ...], Distribution]]:
        """Every distribution, after the optimizer or schedule that has it ("" if none) and its key path."""
        for group, prefix in ((self.optimizers, ("space",)), (self.schedules, ("space", "schedule"))):
            for owner, hyperparameters in group.items():
                yield from ((owner, (*prefix, name), each) for name, each in hyperparameters.items())
        yield from (("", ("space", "task", name), each) for name, each in self.task.items())


def _names(group: Mapping[str, object]) -> Distribution:
    names = tuple(group)
    return Choice(values=names) if len(names) > 1 else Fixed(value=names[0])
