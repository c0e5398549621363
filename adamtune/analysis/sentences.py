"""What a judgement says, in words, with as many digits as its interval allows."""

from __future__ import annotations

from collections.abc import Callable
from math import floor, log10

from adamtune.analysis.looks import LEAST_PAIRS
from adamtune.analysis.paired import Judgement

Write = Callable[[float], str]

LEAST_WIDTH = 1e-12
"""The least width of an interval, as a part of the value, that is no rounding."""


def sentence(
    judgement: Judgement,
    metric: str,
    baseline: str = "the default",
    searched: tuple[float, float] | None = None,
    split: str = "validation",
) -> str:
    """The verdict as a few sentences, the outcome first.

    Args:
        judgement: of the candidate and the baseline.
        metric: its name.
        baseline: what the baseline is called within a sentence.
        searched: the candidate's value in the search, which chose it by this value, and the mean of the same
            metric on fresh seeds.
        split: the rows of the judged metric.
    """
    write = digits(judgement)
    outcome = _outcome(judgement, metric, baseline, write, split)
    said = [outcome, _rows(judgement), _failures(judgement, baseline)]
    return " ".join(filter(None, [*said, _searched(judgement, searched, write)]))


def nothing_to_judge(finalists: int) -> str:
    """What is said where no finalist can be the candidate."""
    return f"Not confirmed: each of the search's best {finalists} trials diverged on a fresh seed."


def digits(judgement: Judgement) -> Write:
    """The function that writes a value of the metric: two significant digits of the interval's half-width."""
    low, high = judgement.interval or (0.0, 0.0)
    # Without noise, two more digits than the difference; without a difference, four of the value.
    width = (high - low) / 2 or abs(judgement.difference or 0) / 100
    means = [abs(each) for each in (judgement.candidate_mean, judgement.baseline_mean) if each]
    width = max(width or max(means, default=1.0) / 100, max(means, default=0.0) * LEAST_WIDTH)
    decimals = 1 - floor(log10(float(f"{width:.1e}")))

    def write(value: float) -> str:
        if 0 <= decimals < 8:
            return f"{value:z.{decimals}f}"
        if -5 < decimals < 0:
            return f"{round(value, decimals):z.0f}"
        kept = floor(log10(abs(value))) + decimals if value else 0
        mantissa, exponent = f"{value:.{max(kept, 0)}e}".split("e")
        return f"{mantissa}e{int(exponent)}"

    return write


def _outcome(judgement: Judgement, metric: str, baseline: str, write: Write, split: str) -> str:
    where = f"on {judgement.n} fresh seeds each"
    if not judgement.rows:
        where += f", on these {split} rows"
    against = _against(judgement, metric, write)
    match judgement.outcome:
        case "better" | "worse":
            return f"{str(judgement.outcome).capitalize()} than {baseline}: {against}, {where}."
        case "no_difference":
            found = write(judgement.detectable or 0.0)
            return (
                f"No difference from {baseline} found: {metric} is {_between(judgement, write)}, {where};"
                f" all pairs of the plan would find {found} four times in five."
            )
        case "identical":
            return f"Identical to {baseline}: {metric} is the same with each of {judgement.n} fresh seeds."
        case "less_reliable" | "more_reliable":
            kind = str(judgement.outcome).partition("_")[0].capitalize()
            finished = f" Where both finished: {against}, {where}." if judgement.interval else ""
            return f"{kind} reliable than {baseline}.{finished}"
        case "pass" | "fail" | "inconclusive":
            word = str(judgement.outcome).capitalize()
            return f"{word}: {against}, {where}." if judgement.interval else f"{word}."
        case None:
            return f"Not decided after {judgement.pairs} pairs of trainings."
        case _:
            return _not_confirmed(judgement, baseline, against, where)


def _not_confirmed(judgement: Judgement, baseline: str, against: str, where: str) -> str:
    if judgement.interval is None or judgement.n < LEAST_PAIRS:
        return f"Not confirmed: both trainings finished in {judgement.n} of {judgement.pairs} pairs only."
    if not _lacks_rows(judgement):
        return f"Not confirmed, because it diverged more often than {baseline}: {against}, {where}."
    word = "Better" if _is_ahead(judgement) else "Worse"
    return f"{word} than {baseline} on these rows, not shown for new rows: {against}, {where}."


def _lacks_rows(judgement: Judgement) -> bool:
    """Whether a judgement of enough pairs that is not confirmed would be, if the rows were certain."""
    diverges = judgement.candidate_failures > judgement.baseline_failures
    return judgement.rows is not None and not (diverges and _is_ahead(judgement))


def _is_ahead(judgement: Judgement) -> bool:
    return ((judgement.difference or 0.0) < 0) == (judgement.direction == "minimize")


def _against(judgement: Judgement, metric: str, write: Write) -> str:
    """The two means and their difference, the larger end of its interval last."""
    if judgement.difference is None or judgement.interval is None:
        return metric
    assert judgement.candidate_mean is not None
    assert judgement.baseline_mean is not None
    lower = judgement.difference < 0
    ends = sorted(judgement.interval, key=lambda end: -end if lower else end)
    low, high = (_end(-end if lower else end, write) for end in ends)
    return (
        f"{metric} {write(judgement.candidate_mean)} against {write(judgement.baseline_mean)},"
        f" {'lower' if lower else 'higher'} by {write(abs(judgement.difference))} [{low}, {high}]"
        f" ({_percent(judgement.level)})"
    )


def _end(end: float, write: Write) -> str:
    """An end of an interval; one that is not 0 is not written as 0."""
    written = write(end)
    return f"{end:.1g}" if end and not float(written) else written


def _between(judgement: Judgement, write: Write) -> str:
    ends = judgement.interval or (0.0, 0.0)
    minimize = judgement.direction == "minimize"
    better, worse = (-ends[0], ends[1]) if minimize else (ends[1], -ends[0])
    found = f"between {write(max(worse, 0.0))} worse and {write(max(better, 0.0))} better"
    return f"{found} ({_percent(judgement.level)})"


def _rows(judgement: Judgement) -> str:
    if judgement.rows is None or judgement.row_half_width is None or judgement.n < LEAST_PAIRS:
        return ""
    if judgement.outcome == "identical":
        return ""
    rows, half = judgement.rows, judgement.row_half_width
    allowed = f"{rows} rows that the search never saw allow {half:.2g} either way"
    if judgement.outcome != "not_confirmed" or not _lacks_rows(judgement):
        return f"The interval is for new rows, too: the {allowed}."
    if half > abs(judgement.difference or 0):
        return f"The {allowed} by themselves: more rows are needed, not more seeds."
    return f"The {allowed}: more rows or more seeds are needed."


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _failures(judgement: Judgement, baseline: str) -> str:
    """How many trainings diverged; of none, what rate that leaves possible."""
    if judgement.outcome in (None, "identical"):
        return ""
    failed, other, pairs = judgement.candidate_failures, judgement.baseline_failures, judgement.pairs
    if failed or other:
        return f"{failed} of {pairs} trainings diverged, and {other} of {pairs} of {baseline}."
    return f"None of {pairs} trainings diverged: the true rate is below {_percent(1 - 0.05 ** (1 / pairs))}."


def _searched(judgement: Judgement, searched: tuple[float, float] | None, write: Write) -> str:
    if searched is None:
        return ""
    value, fresh = searched
    optimistic = fresh - value if judgement.direction == "minimize" else value - fresh
    said = f"Searched {write(value)}, fresh {write(fresh)}"
    return f"{said}: the search's best is optimistic." if optimistic > 0 else f"{said}."
