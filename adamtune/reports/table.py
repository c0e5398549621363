"""The ranked table, in the layout that fits the terminal."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from adamtune.analysis.ranking import BASELINE, Ranking, Row
from adamtune.reports import text
from adamtune.reports.text import Column, fill, grid, sparkline, width_of
from adamtune.storage.records import TrialRecord, shown_state


def columns(ranking: Ranking, rows: Sequence[Row], digits: int = 3, curve: int = 10) -> list[Column]:
    """All columns of the ranked table.

    Args:
        ranking: the ranked study.
        rows: the trials to show.
        digits: significant digits of the settings.
        curve: characters of a curve.
    """
    trials = [row.trial for row in rows]
    # The baseline has several seeds, and is no reason for a column of its own.
    searched = any(_spread(trial) for trial in trials if trial.number != BASELINE)
    spread = [_spread(trial) if searched else "" for trial in trials]
    return [
        Column("rank", [_rank(row, ranking.tied) for row in rows]),
        Column("trial", ["baseline" if trial.number == BASELINE else str(trial.number) for trial in trials]),
        Column("value", [_value(trial, ranking.study.in_use) for trial in trials]),
        *([Column("sd", spread)] if any(spread) else []),
        *(_setting(name, trials, digits) for name in ranking.searched),
        Column("steps", [str(trial.steps) if trial.steps else "" for trial in trials]),
        Column("seconds", [text.seconds(trial.seconds) if trial.seconds else "" for trial in trials]),
        Column("curve", [sparkline(list(trial.intermediate.values()), curve) for trial in trials], left=True),
    ]


def _rank(row: Row, tied: Sequence[int]) -> str:
    """The rank, with = where the trial cannot be told from the best."""
    return f"{row.rank or '-'}{'=' if row.trial.number in tied else ''}"


def _setting(name: str, trials: Sequence[TrialRecord], digits: int) -> Column:
    write = text.setting(name, digits)
    values = [trial.settings.get(name) for trial in trials]
    left = any(isinstance(value, str) for value in values)
    return Column(name, ["" if value is None else write(value) for value in values], left)


def _value(trial: TrialRecord, in_use: bool) -> str:
    """The value of a complete trial, the state of any other."""
    if trial.state == "complete" and trial.value is not None:
        return text.rounded(trial.value)
    # The last value of a pruned trial is of an earlier step: beside final values it would mislead.
    return shown_state(trial.state, in_use)


def _spread(trial: TrialRecord) -> str:
    """The standard deviation over several training seeds; empty for one seed."""
    several = trial.state == "complete" and len(trial.seeds) > 1
    return text.rounded(statistics.stdev(trial.seeds), 2) if several else ""


# A digit of the settings goes first: a setting is rarely known better than to two. Without a curve of six
# characters, a falling loss and a noisy one look alike.
_LAYOUTS = ((3, 10, 2), (2, 10, 2), (2, 8, 1), (2, 6, 1))
"""Significant digits of the settings, characters of a curve, blanks between columns; the widest first."""

_NARROW = (3, 6, 1)
"""The layout where columns have left the table."""

_FIXED = frozenset({"rank", "trial", "value", "sd", "lr", "curve"})
_LEAST = frozenset({"steps", "seconds"})
_INDENT = " " * 5


class Table(NamedTuple):
    """The ranked table as text.

    Attributes:
        heading: the lines with the names of the columns.
        rows: the text of each row, of one or several lines.
        common: the lines with the settings that have one value in all rows, unless these have columns.
    """

    heading: Sequence[str]
    rows: Sequence[str]
    common: Sequence[str] = ()


def table(ranking: Ranking, rows: Sequence[Row], width: int) -> Table:
    """The ranked table in the first layout that fits ``width``.

    Where none does, columns leave the table until it fits, and are written as ``name=value``: first
    settings with one value in all rows, which are listed once; then the seconds, the steps and the last
    settings, which go below their row. lr and the value always keep their columns.
    """
    for digits, curve, gap in _LAYOUTS:
        # Most tables that are too wide are so in their first rows, which spares writing thousands of others.
        cells = columns(ranking, rows[:20], digits, curve)
        if _width(cells, gap) <= width:
            cells = columns(ranking, rows, digits, curve)
            if _width(cells, gap) <= width:
                return Table(*grid(cells, gap))
    return _folded(ranking, rows, width)


def _folded(ranking: Ranking, rows: Sequence[Row], width: int) -> Table:
    digits, curve, gap = _NARROW
    cells = columns(ranking, rows, digits, curve)
    # Reversed: the settings that the catalogs list first, such as the betas, stay longest.
    movable = [column for column in reversed(cells) if column.name not in _FIXED]
    movable.sort(key=lambda column: column.name not in _LEAST)  # stable: then the last settings
    # One row has no setting that differs, so nothing is said of every row.
    constant = [column for column in movable if len(rows) > 1 and len(set(column.cells)) == 1]
    below: list[Column] = []
    common: list[Column] = []
    for column in [*constant, *(each for each in movable if each not in constant)]:
        if _width(cells, gap) <= width:
            break
        cells.remove(column)
        (common if column in constant else below).insert(0, column)
    heading, lines = grid(cells, gap)
    return Table(
        heading,
        ["\n".join([line, *_indented(_pairs(below, row), width)]) for row, line in enumerate(lines)],
        fill(["every row:", *_pairs(common, 0)], width, " ") if common else (),
    )


def _pairs(cells: Sequence[Column], row: int) -> list[str]:
    return [f"{column.name}={column.cells[row]}" for column in cells if column.cells[row]]


def _indented(pieces: Sequence[str], width: int) -> list[str]:
    return [_INDENT + line for line in fill(pieces, width - len(_INDENT), " ") if line]


def _width(cells: Sequence[Column], gap: int) -> int:
    return sum(map(width_of, cells)) + gap * (len(cells) - 1)
