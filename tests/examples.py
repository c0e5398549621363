"""Hyperparameters to try, read from the catalog so that a new row is tested without edits."""

from __future__ import annotations

import itertools
import random

from adamtune.catalog import Entry, Hyperparameter
from adamtune.optimizers.base import Optimizer


def variants(entry: Entry, combinations: int = 4) -> list[dict[str, float]]:
    """The defaults; each hyperparameter changed alone, with one other, and at random; the legal ones."""
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


def legal(entry: Entry, hyperparameters: dict[str, float]) -> bool:
    try:
        if isinstance(entry, Optimizer):
            entry.check(hyperparameters)
    except ValueError:
        return False
    return True
