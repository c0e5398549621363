"""Which evaluations of a trial are kept where its whole curve is not."""

from __future__ import annotations

from collections.abc import Iterable

SPACING = 3
"""Evaluations that are kept are so many times as far apart as those before: at the rungs of pruners."""


def removed_steps(steps: Iterable[int]) -> list[int]:
    """The steps of the evaluations that a thinned curve lacks.

    It keeps the first evaluation, the first at or after 3, 9, ... times its step, and the last. The last says
    how far a pruned trial came; the others, what the value was where asha and hyperband judge. A thinned
    curve lacks none.

    Args:
        steps: of all evaluations.
    """
    following, removed = 0, []
    ordered = sorted(steps)
    for step in ordered[:-1]:
        if step < following:
            removed.append(step)
        else:
            following = following or step * SPACING
            while following and following <= step:
                following *= SPACING
    return removed
