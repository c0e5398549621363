"""The table of all trials: its columns, and where each finds its values in the rows of the charts."""

from __future__ import annotations

from typing import Any, NamedTuple

from adamtune.analysis.ranking import Ranking
from adamtune.reports.axes import axes
from adamtune.reports.charts.rows import metric_fields, trial_rows
from adamtune.reports.text import NEAR_ONE


class Table(NamedTuple):
    """The rows of all trials, and the columns as (title, field, how a value is written)."""

    rows: list[dict[str, Any]]
    columns: list[tuple[str, str, str]]


def table(ranking: Ranking) -> Table:
    """The table of all trials, those that failed included."""
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
    return Table(trial_rows(ranking, found, ranking.rows), columns)


def _form(name: str, is_choice: bool, complement: bool) -> str:
    if is_choice:
        return "text"
    return "complement" if complement else "near_one" if name in NEAR_ONE else "number"
