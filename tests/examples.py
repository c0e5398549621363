"""Hyperparameters drawn from the catalog, so that a new optimizer or schedule is tested without edits."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping

from adamtune.catalog import Entry, Hyperparameter
from adamtune.optimizers.base import Optimizer


def variants(entry: Entry, combinations: int = 4) -> list[dict[str, float]]:
    """The legal ones of: the defaults; each hyperparameter changed alone; each pair; random subsets."""
    draw = random.Random(entry.name)
    rows = entry.hyperparameters
    chosen = [(), *((each,) for each in rows), *itertools.combinations(rows, 2)]
    chosen += [tuple(each for each in rows if draw.random() < 0.7) for _ in range(combinations)]
    settings = [{**entry.defaults, **{each.name: changed(each, draw) for each in some}} for some in chosen]
    return [each for each in settings if legal(entry, each)]


def changed(hyperparameter: Hyperparameter, draw: random.Random) -> float:
    """A legal value that is not the default, with few significant digits."""
    each = hyperparameter
    if each.kind is bool:
        return not each.default
    if each.kind is int:
        return draw.randint(int(each.low), int(min(each.high, 6)))
    high = min(each.high, 10 * each.default or 0.3)
    value = float(f"{draw.uniform(max(each.low, high / 20), high * 0.95):.3g}")
    assert each.allows(value)
    assert value != each.default
    return value


def drawn(entry: Entry, draw: random.Random) -> dict[str, float]:
    """Legal hyperparameters for a training, most of them not at their defaults."""
    while True:
        chosen = {each.name: trainable(each, draw) for each in entry.hyperparameters if draw.random() < 0.7}
        if legal(entry, chosen):
            return entry.defaults | chosen


def trainable(hyperparameter: Hyperparameter, draw: random.Random) -> float:
    """A legal value with which rounding does not grow without bound during a training."""
    each = hyperparameter
    if each.kind is not float:
        return changed(each, draw)
    if each.complement:
        # Closer to 0, centred RMSprop divides by a difference that is rounding alone.
        return draw.uniform(0.8, 0.98)
    # A larger learning rate makes training chaotic.
    high = min(each.high, (2 if each.name == "lr" else 10) * each.default or 0.3)
    return draw.uniform(max(each.low, high / 20), 0.95 * high)


def legal(entry: Entry, hyperparameters: Mapping[str, float]) -> bool:
    """Whether the optimizer accepts these hyperparameters together."""
    try:
        if isinstance(entry, Optimizer):
            entry.check(hyperparameters)
    except ValueError:
        return False
    return True
