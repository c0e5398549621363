"""Hyperparameters to try, read from the catalog so that a new row is tested without edits."""

from __future__ import annotations

import random
from collections.abc import Mapping

from adamtune.catalog import Entry, Hyperparameter
from adamtune.engines.base import Member
from adamtune.optimizers.base import Optimizer
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.schedules.registry import SCHEDULES
from adamtune.tasks.base import Task


def varied_member(task: Task, trial: int, rule: str, schedule: str) -> Member:
    """A member whose hyperparameters follow from its number; odd numbers are of another replicate."""
    draw = random.Random(f"{trial} {rule} {schedule}")
    own = varied(OPTIMIZERS[rule], draw)
    return Member(trial, trial % 2, 7, task, rule, own, schedule, varied(SCHEDULES[schedule], draw))


def varied(entry: Entry, draw: random.Random) -> dict[str, float]:
    """Legal hyperparameters, most of them not at their defaults."""
    while True:
        changed = {each.name: other(each, draw) for each in entry.hyperparameters if draw.random() < 0.7}
        if legal(entry, changed):
            return entry.defaults | changed


def legal(entry: Entry, hyperparameters: Mapping[str, float]) -> bool:
    try:
        if isinstance(entry, Optimizer):
            entry.check(hyperparameters)
    except ValueError:
        return False
    return True


def other(each: Hyperparameter, draw: random.Random) -> float:
    """A legal value, not far from the default where the range has no end."""
    if each.kind is bool:
        return not each.default
    if each.kind is int:
        return draw.randint(int(each.low), int(min(each.high, 6)))
    if each.complement:
        # Shorter memories make centred RMSprop divide by a difference that is rounding alone.
        return draw.uniform(0.8, 0.98)
    # Larger learning rates would make the training chaotic: it would magnify rounding without end.
    high = min(each.high, (2 if each.name == "lr" else 10) * each.default or 0.3)
    return draw.uniform(max(each.low, high / 20), 0.95 * high)
