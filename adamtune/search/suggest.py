"""From a trial's suggestions to its settings: the flat dict of everything it is trained with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial

from adamtune.config import Choice, Distribution, Fixed, Range, Space, Value, as_trained


def suggest(trial: Trial, space: Space) -> dict[str, Any]:
    """Asks for what the chosen optimizer and schedule have, and nothing else.

    Returns:
        ``optimizer`` and its hyperparameters, ``schedule`` and its, then the searched task settings;
        all by catalog name, JSON-safe.
    """
    optimizer = _value(trial, "optimizer", space.optimizer)
    settings = {"optimizer": optimizer} | _trained(trial, space.optimizers[optimizer])
    schedule = _value(trial, "schedule", space.schedule)
    settings |= {"schedule": schedule} | _trained(trial, space.schedules[schedule])
    return settings | {name: _value(trial, name, each) for name, each in space.task.items()}


def optuna_distribution(distribution: Choice | Range) -> BaseDistribution:
    """What Optuna calls it."""
    if isinstance(distribution, Choice):
        return CategoricalDistribution([_storable(value) for value in distribution.values])
    kind = IntDistribution if distribution.integer else FloatDistribution
    return kind(distribution.low, distribution.high, log=distribution.log)  # type: ignore[arg-type]


def grid(space: Space) -> Iterator[dict[str, Any]]:
    """Every combination of a space of choices, as Optuna's parameters; a fixed value is not a parameter."""
    for optimizer, its in space.optimizers.items():
        for schedule, its_own in space.schedules.items():
            named = {"optimizer": space.optimizer, "schedule": space.schedule}
            chosen = {"optimizer": optimizer, "schedule": schedule}
            head = {name: chosen[name] for name, each in named.items() if isinstance(each, Choice)}
            yield from _combinations(head, {**its, **its_own, **space.task})


def _combinations(head: dict[str, Any], rest: Mapping[str, Distribution]) -> Iterator[dict[str, Any]]:
    choices = {name: each for name, each in rest.items() if isinstance(each, Choice)}
    if not choices:
        yield head
        return
    name, choice = next(iter(choices.items()))
    others = {other: each for other, each in choices.items() if other != name}
    for value in choice.values:
        yield from _combinations(head | {name: _storable(value)}, others)


def _trained(trial: Trial, hyperparameters: Mapping[str, Distribution]) -> dict[str, Any]:
    return dict(as_trained(name, _value(trial, name, each)) for name, each in hyperparameters.items())


def _value(trial: Trial, name: str, distribution: Distribution) -> Any:
    if isinstance(distribution, Fixed):
        return distribution.value
    found = trial._suggest(name, optuna_distribution(distribution))
    if isinstance(distribution, Choice):
        return {_storable(value): value for value in distribution.values}[found]
    return found


def _storable(value: Value) -> bool | int | float | str | None:
    """Optuna's categories are scalars: a list, such as a task's ``hidden``, is kept as its JSON."""
    return json.dumps(value) if isinstance(value, tuple) else value
