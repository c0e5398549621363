"""The choice among the search's best trials, and the trials that cannot be told from the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, isfinite, sqrt

import numpy as np

from adamtune.analysis.looks import Plan
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


def ties(
    trials: Mapping[int, Values], direction: str, deviation: float | None = None, pairs: int = 0
) -> tuple[int, ...]:
    """The trials that none of the others beats: with 95 % certainty, the truly best one is among them.

    Of k trials, one beats another by a one-sided paired t-test at the level 0.05 / (k - 1).

    Args:
        trials: the values of each trial by its number, on common seeds. A trial that diverged is left out.
        direction: ``minimize`` or ``maximize``.
        deviation, pairs: the standard deviation of paired differences and the number of pairs that it is from
            (``Judgement.deviation`` and ``n``). Where the trials have fewer seeds than these pairs, they are
            compared by this deviation, as if every two of them differed by as much noise: one seed shows no
            spread, and two or three hardly any.

    Returns:
        The numbers of the trials, the best mean first.

    Raises:
        ValueError: the trials have one seed each, and there is no deviation of at least two pairs.
    """
    sign = 1.0 if direction == "minimize" else -1.0
    finished = {number: values for number, values in trials.items() if values and isfinite(_mean(values))}
    order = sorted(finished, key=lambda number: (sign * _mean(finished[number]), number))
    if len(order) < 2:
        return tuple(order)
    from scipy.special import stdtrit

    losses = sign * np.array([finished[number] for number in order], np.float64)
    seeds = losses.shape[1]
    given = deviation if pairs > seeds else None
    freedom = (seeds if given is None else pairs) - 1
    if freedom < 1:
        raise ValueError("trials with one seed each are compared by the deviation of at least two pairs")
    bound = float(stdtrit(freedom, 1 - 0.05 / (len(order) - 1)))

    def beaten(index: int) -> bool:
        leads = losses[index] - losses  # of each trial, on each seed
        spread = leads.std(1, ddof=1) if given is None else given
        return bool((leads.mean(1) > bound * spread / sqrt(seeds)).any())

    return tuple(number for index, number in enumerate(order) if not beaten(index))


def finalists(values: Sequence[tuple[int, float]], direction: str, plan: Plan) -> tuple[int, ...]:
    """The numbers of the best trials, the best first.

    Args:
        values: number and value of each complete trial.
        direction: ``minimize`` or ``maximize``.
        plan: how many are wanted.
    """
    sign = 1 if direction == "minimize" else -1
    ranked = sorted(values, key=lambda each: (sign * each[1], each[0]))
    return tuple(number for number, _ in ranked[: plan.finalists])
