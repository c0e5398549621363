"""The settings of a trial from the values that a sampler suggests, and the distributions of these values."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial

from adamtune.config import Choice, Distribution, Fixed, Range, Space, Value, as_trained
from adamtune.storage.optuna_private import ask_parameter

Ask = Callable[[str, BaseDistribution], Any]
"""Asks for the value of a parameter by its name."""


class Suggestions:
    """What the trials of a space are asked for. They share its distributions, which are made once.

    Args:
        space: the space.
    """

    def __init__(self, space: Space) -> None:
        self._optimizer = _Part({"optimizer": space.optimizer})
        self._optimizers = {name: _Part(each) for name, each in space.optimizers.items()}
        self._schedule = _Part({"schedule": space.schedule})
        self._schedules = {name: _Part(each) for name, each in space.schedules.items()}
        self._others = _Part({**space.training, **space.task}, trained=lambda name, value: (name, value))

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """The settings of a trial, which are asked of its sampler and kept with it."""
        return self.settings(partial(ask_parameter, trial))

    def settings(self, ask: Ask) -> dict[str, Any]:
        """Asks for the parameters of the chosen optimizer and schedule, and no others.

        Returns:
            ``optimizer`` and its hyperparameters, ``schedule`` and its, those of the training that are not at
            their defaults, then the searched task settings; all by catalog name, JSON-safe.
        """
        found = self._optimizer.settings(ask)
        found |= self._optimizers[found["optimizer"]].settings(ask)
        found |= self._schedule.settings(ask)
        found |= self._schedules[found["schedule"]].settings(ask)
        return found | self._others.settings(ask)


class _Part:
    """Settings that are asked for together.

    Args:
        distributions: by the names of the study file.
        trained: the name and the value that a setting is trained with.
    """

    def __init__(
        self,
        distributions: Mapping[str, Distribution],
        trained: Callable[[str, Any], tuple[str, Any]] = as_trained,
    ) -> None:
        self._trained = trained
        values = {name: each.value if isinstance(each, Fixed) else 0 for name, each in distributions.items()}
        # With those that are searched, so that the settings are in the order of the study file.
        self._fixed = dict(trained(name, value) for name, value in values.items())
        self._searched = [
            (name, optuna_distribution(each), _by_suggestion(each))
            for name, each in distributions.items()
            if not isinstance(each, Fixed)
        ]

    def settings(self, ask: Ask) -> dict[str, Any]:
        """All settings of the part."""
        found = self._fixed.copy()
        for name, distribution, by_suggestion in self._searched:
            suggested = ask(name, distribution)
            found.update([self._trained(name, by_suggestion.get(suggested, suggested))])
        return found


def _by_suggestion(distribution: Choice | Range) -> dict[Any, Value]:
    """The values of a choice by what Optuna has in their place."""
    return {storable(each): each for each in distribution.values} if isinstance(distribution, Choice) else {}


def optuna_distribution(distribution: Choice | Range) -> BaseDistribution:
    """The distribution as Optuna's."""
    if isinstance(distribution, Choice):
        return CategoricalDistribution([storable(value) for value in distribution.values])
    kind = IntDistribution if distribution.integer else FloatDistribution
    return kind(distribution.low, distribution.high, log=distribution.log)  # type: ignore[arg-type]


def grid(space: Space) -> Iterator[dict[str, Any]]:
    """Every combination of a space without real numbers, as Optuna's parameters without the fixed ones."""
    for optimizer, its in space.optimizers.items():
        for schedule, its_own in space.schedules.items():
            named = {"optimizer": space.optimizer, "schedule": space.schedule}
            chosen = {"optimizer": optimizer, "schedule": schedule}
            head = {name: chosen[name] for name, each in named.items() if isinstance(each, Choice)}
            yield from _combinations(head, {**its, **its_own, **space.training, **space.task})


def _combinations(head: dict[str, Any], rest: Mapping[str, Distribution]) -> Iterator[dict[str, Any]]:
    searched = {name: each for name, each in rest.items() if not isinstance(each, Fixed)}
    if not searched:
        yield head
        return
    name, first = next(iter(searched.items()))
    others = {other: each for other, each in searched.items() if other != name}
    for value in first.countable or ():
        yield from _combinations(head | {name: storable(value)}, others)


def storable(value: Value) -> bool | int | float | str | None:
    """Optuna's categories are scalars: a list, such as a task's ``hidden``, is kept as its JSON."""
    return json.dumps(value) if isinstance(value, tuple | dict) else value
