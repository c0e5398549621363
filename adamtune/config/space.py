"""The search space: for every optimizer, schedule and task setting, what its values may be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from math import prod

from adamtune.config.distributions import Choice, Distribution, Fixed, Frozen


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
    def combinations(self) -> int:
        """How many a grid has, of a space of choices."""
        spaces = product(self.optimizers.values(), self.schedules.values())
        merged = ({**its, **its_own, **self.task}.values() for its, its_own in spaces)
        return sum(prod(len(each.values) for each in some if isinstance(each, Choice)) for some in merged)

    def leaves(self) -> Iterator[tuple[str, tuple[str, ...], Distribution]]:
        """Every distribution, after the optimizer or schedule that has it ("" if none) and its key path."""
        for group, prefix in ((self.optimizers, ("space",)), (self.schedules, ("space", "schedule"))):
            for owner, hyperparameters in group.items():
                yield from ((owner, (*prefix, name), each) for name, each in hyperparameters.items())
        yield from (("", ("space", "task", name), each) for name, each in self.task.items())


def _names(group: Mapping[str, object]) -> Distribution:
    names = tuple(group)
    return Choice(values=names) if len(names) > 1 else Fixed(value=names[0])
