"""The choice among the search's best trials, and the trials that cannot be told from the best."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite

from adamtune.analysis.paired import Values


def choose(finalists: Mapping[int, Values], direction: str) -> int | None:
    """The trial with the best mean on fresh seeds, of those that never diverged.

    Args:
        finalists: the values of each trial by its number; None, NaN or infinity where a training diverged. An
            only finalist needs no values.
        direction: ``minimize`` or ``maximize``.

    Returns:
        The number of the trial, the lowest of several with the same mean; None if every one diverged.
    """
    sign = 1 if direction == "minimize" else -1
    means = {number: sign * _mean(values) for number, values in finalists.items()}
    finished = [number for number, mean in means.items() if isfinite(mean)]
    return min(finished, key=lambda number: (means[number], number), default=None)


def _mean(values: Values) -> float:
    """The mean; infinite if one value is missing."""
    finite = [value for value in values if value is not None and isfinite(value)]
    return sum(finite) / max(len(finite), 1) if len(finite) == len(values) else inf
