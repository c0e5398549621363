"""A study as HTML for a notebook: its verdict, its best trials, and the recommended settings as code."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from adamtune.analysis.ranking import Ranking
from adamtune.reports.as_code import recommended_code
from adamtune.reports.console import counts
from adamtune.reports.table import columns

TOP = 10
"""Trials in the table."""


def summary(ranking: Ranking) -> str:
    """The verdict in a sentence, the ten best trials with the baseline, and the recommended settings as code.

    Everything that comes from the study is escaped.
    """
    study = ranking.study
    order = "lowest" if study.direction == "minimize" else "highest"
    parts = [
        f"<p><b>{escape(study.name)}</b>: {escape(study.metric)}, {order} first;"
        f" {escape(counts(ranking.counts, study.in_use))}</p>"
    ]
    if ranking.verdict is not None:
        parts += [f"<p>{escape(ranking.verdict.sentence)}</p>"]
    if ranking.rows:
        parts += [_table(ranking)]
    if code := recommended_code(ranking):
        parts += [f"<pre>{escape(code)}</pre>"]
    return "<div>" + "\n".join(parts) + "</div>"


def _table(ranking: Ranking) -> str:
    rows = [*ranking.rows[:TOP], *([ranking.baseline] if ranking.baseline else [])]
    cells = columns(ranking, rows)
    lines = zip(*(column.cells for column in cells), strict=True)
    head = _row("th", (column.name for column in cells))
    return "<table>" + head + "".join(_row("td", line) for line in lines) + "</table>"


def _row(tag: str, cells: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(each)}</{tag}>" for each in cells) + "</tr>"
