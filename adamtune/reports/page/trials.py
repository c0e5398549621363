"""The table of the trials: its columns, and where each finds its values in the rows of the charts."""

from __future__ import annotations

from typing import Any, NamedTuple

from adamtune.analysis.ranking import Ranking
from adamtune.reports.axes import axes
from adamtune.reports.charts.rows import drawn, metric_fields, trial_rows
from adamtune.reports.text import NEAR_ONE

MOST_ROWS = 20_000
"""The best trials that the table has: a page of more is slow to read, and larger than 10 MB."""


class Table(NamedTuple):
    """The rows of the trials, and the columns as (title, field, how a value is written).

    ``note`` says that there are more trials; it is empty where the table has all.
    """

    rows: list[dict[str, Any]]
    columns: list[tuple[str, str, str]]
    note: str


def table(ranking: Ranking) -> Table:
    """The table of the trials, those that failed included."""
    found = axes(ranking)
    settings = [(axis.name, axis.key, _form(axis.name, bool(axis.values), axis.complement)) for axis in found]
    metrics = [(name, key, "number") for name, key in metric_fields(ranking).items()]
    columns = [
        ("rank", "rank", "integer"),
        ("trial", "trial", "integer"),
        ("state", "kind", "text"),
        (ranking.study.metric, "value", "number"),
        *settings,
        *metrics,
        ("steps", "steps", "integer"),
        ("seconds", "seconds", "seconds"),
    ]
    rows, note = ranking.rows, ""
    if len(rows) > MOST_ROWS:
        shown = {row.trial.number for row in rows[:MOST_ROWS]}
        rows = [*rows[:MOST_ROWS], *(row for row in drawn(ranking) if row.trial.number not in shown)]
        note = (
            f"The table has {len(rows):,} of {len(ranking.rows):,} trials: the first {MOST_ROWS:,} of the"
            " ranking and those that are drawn. `adamtune report --format csv` writes all."
        )
    return Table(trial_rows(ranking, found, rows), columns, note)


def _form(name: str, is_choice: bool, complement: bool) -> str:
    if is_choice:
        return "text"
    return "complement" if complement else "near_one" if name in NEAR_ONE else "number"
