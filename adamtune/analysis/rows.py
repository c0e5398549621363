"""The uncertainty that the rows add to a judgement: other rows of the same kind give other differences."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot, sqrt

import numpy as np

from adamtune.analysis.paired import POWER, Judgement


def with_rows(judgement: Judgement, row_differences: Sequence[float], rows: int | None = None) -> Judgement:
    """The judgement with an interval for new rows too, where the pairs' interval holds for these rows alone.

    With M rows, whose differences have the standard deviation s_row, each half of the interval becomes
    sqrt(h^2 + h_row^2), where h_row = t(.975, M - 1) s_row / sqrt(M). The difference that is found four times
    in five grows likewise, by t + 1 standard errors s_row / sqrt(M).

    Args:
        judgement: of values that are means over these rows.
        row_differences: the metric of each row, or of each of some parts of equal size, candidate minus
            baseline, averaged over the pairs; two or more.
        rows: how many rows there are, if these are parts.

    Returns:
        With ``rows`` and ``row_half_width``. What was better or worse is not confirmed where the interval now
        contains 0.
    """
    from scipy.special import stdtrit

    count = len(row_differences)
    if count < 2:
        raise ValueError(f"rows have no spread below two of them; got {count}")
    bound = float(stdtrit(count - 1, 0.975))
    error = float(np.std(row_differences, ddof=1)) / sqrt(count)
    half = bound * error
    judgement = judgement._replace(rows=rows or count, row_half_width=half)
    if judgement.detectable is not None:
        judgement = judgement._replace(detectable=hypot(judgement.detectable, (bound + POWER) * error))
    if judgement.interval is None or judgement.difference is None:
        return judgement
    low = judgement.difference - hypot(judgement.difference - judgement.interval[0], half)
    high = judgement.difference + hypot(judgement.interval[1] - judgement.difference, half)
    shown = judgement.outcome not in ("better", "worse") or low > 0 or high < 0
    return judgement._replace(interval=(low, high), outcome=judgement.outcome if shown else "not_confirmed")
