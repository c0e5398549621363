"""The ranked table, in the layout that fits the terminal."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from adamtune.analysis.ranking import BASELINE, Ranking, Row
from adamtune.reports import text
from adamtune.reports.curves import ASCII_BLOCKS, BLOCKS, Scale, sparkline
from adamtune.reports.text import Column, fill, grid, width_of
from adamtune.storage.records import TrialRecord, shown_state


class _Layout(NamedTuple):
    """Significant digits of the settings, characters of a curve, blanks between columns."""

    digits: int
    curve: int
    gap: int


# A digit of the settings goes first: a setting is rarely known better than to two. Without a curve of six
# characters, a falling loss and a noisy one look alike.
_LAYOUTS = (_Layout(3, 10, 2), _Layout(2, 10, 2), _Layout(2, 8, 1), _Layout(2, 6, 1))
"""The layouts of the whole table, the widest first."""

_NARROW = _Layout(3, 6, 1)
"""The layout where columns have left the table."""

_FIXED = frozenset({"rank", "trial", "value", "sd", "lr", "curve"})
_LEAST = ("seconds", "steps")
"""The columns that leave a narrow table first."""
_INDENT = " " * 5


class Table(NamedTuple):
    """The ranked table as text.

    Attributes:
        heading: the lines with the names of the columns.
        rows: the text of each row, of one or several lines.
        common: the lines with the settings that have one value in all rows, unless these have columns.
        scale: what the lowest and the highest block of all curves stand for; empty where there are none.
    """

    heading: Sequence[str]
    rows: Sequence[str]
    common: Sequence[str] = ()
    scale: str = ""


def table(
    ranking: Ranking, rows: Sequence[Row], width: int, unicode: bool = True, brief: bool = False
) -> Table:
    """The ranked table in the first layout that fits ``width``.

    Where none does, columns leave the table until it fits: first those with one value in all rows, which are
    listed once as ``name=value``; then the seconds and the steps, which are left out; then the least
    important settings, which go below their row. lr and the value always keep their columns.

    Args:
        ranking: the ranked study.
        rows: the trials to show.
        width: characters of a line.
        unicode: whether the characters may be others than ASCII.
        brief: whether the steps, the seconds, and what would go below a row are always left out.
    """

    def cells(rows: Sequence[Row], layout: _Layout) -> list[Column]:
        found = columns(ranking, rows, layout, unicode)
        return [each for each in found if not brief or each.name not in _LEAST]

    def fits(rows: Sequence[Row], layout: _Layout) -> bool:
        return _width(cells(rows, layout), layout.gap) <= width

    # Most tables that are too wide are so in their first rows, which spares writing thousands of others.
    layouts = (each for each in _LAYOUTS if fits(rows[:20], each) and fits(rows, each))
    layout = next(layouts, None)
    if layout:
        shown = Table(*grid(cells(rows, layout), layout.gap))
    else:
        shown = _folded(ranking, cells(rows, _NARROW), width, brief)
    return shown._replace(scale=_legend(ranking, rows, unicode))


def columns(
    ranking: Ranking, rows: Sequence[Row], layout: _Layout = _LAYOUTS[0], unicode: bool = True
) -> list[Column]:
    """All columns of the ranked table; the curves of its rows have one scale."""
    trials = [row.trial for row in rows]
    scale = _scale(ranking, rows)
    curves = [sparkline([*each.intermediate.values()], layout.curve, scale, unicode) for each in trials]
    # The baseline has several seeds, and is no reason for a column of its own.
    searched = any(_spread(trial) for trial in trials if trial.number != BASELINE)
    spread = [_spread(trial) if searched else "" for trial in trials]
    return [
        Column("rank", [_rank(row, ranking.tied) for row in rows]),
        Column("trial", ["baseline" if trial.number == BASELINE else str(trial.number) for trial in trials]),
        Column("value", [_value(trial, ranking.study.in_use) for trial in trials]),
        *([Column("sd", spread)] if any(spread) else []),
        *(_setting(name, trials, layout.digits) for name in ranking.searched),
        Column("steps", [str(trial.steps) if trial.steps else "" for trial in trials]),
        Column("seconds", [text.seconds(trial.seconds) if trial.seconds else "" for trial in trials]),
        Column("curve", curves, left=True),
    ]


def _scale(ranking: Ranking, rows: Sequence[Row]) -> Scale | None:
    return Scale.of(_values(rows), ranking.study.direction)


def _values(rows: Sequence[Row]) -> list[float]:
    return [value for row in rows for value in row.trial.intermediate.values()]


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


def _folded(ranking: Ranking, cells: list[Column], width: int, brief: bool) -> Table:
    gap, rows = _NARROW.gap, len(cells[0].cells)
    movable = [column for column in cells if column.name not in _FIXED]
    # One row has no setting that differs, so nothing is said of every row.
    constant = [column for column in movable if rows > 1 and len(set(column.cells)) == 1]
    leaving = _by_importance(ranking)
    movable.sort(key=lambda column: (column not in constant, leaving.index(column.name)))
    gone: set[str] = set()
    for column in movable:
        if _width([each for each in cells if each.name not in gone], gap) <= width:
            break
        gone.add(column.name)
    rest = gone.difference(_LEAST, (column.name for column in constant))
    below = [column for column in cells if column.name in rest and not brief]
    common = _pairs([column for column in constant if column.name in gone], 0)
    heading, lines = grid([column for column in cells if column.name not in gone], gap)
    return Table(
        heading,
        ["\n".join([line, *_indented(_pairs(below, row), width)]) for row, line in enumerate(lines)],
        fill(["every row:", *common], width, " ") if common else (),
    )


def _by_importance(ranking: Ranking) -> list[str]:
    """The columns that may leave the table, the least important one first."""
    # With too few trials to say, those that the catalogs list first, such as the betas, are the important.
    known = ranking.by_importance
    settings = [*known, *(name for name in ranking.searched if name not in known)]
    return [*_LEAST, *reversed(settings)]


def _pairs(cells: Sequence[Column], row: int) -> list[str]:
    return [f"{column.name}={column.cells[row]}" for column in cells if column.cells[row]]


def _indented(pieces: Sequence[str], width: int) -> list[str]:
    return [_INDENT + line for line in fill(pieces, width - len(_INDENT), " ") if line]


def _width(cells: Sequence[Column], gap: int) -> int:
    return sum(map(width_of, cells)) + gap * (len(cells) - 1)


def _legend(ranking: Ranking, rows: Sequence[Row], unicode: bool) -> str:
    """Such as ``curve: val_loss from ▁ 0.05 to █ 0.21 or more``."""
    scale, values = _scale(ranking, rows), _values(rows)
    if scale is None:
        return ""
    blocks = BLOCKS if unicode else ASCII_BLOCKS
    low, high = (text.significant(each) for each in (scale.low, scale.high))
    less = " or less" if any(each < scale.low for each in values) else ""
    more = " or more" if any(each > scale.high for each in values) else ""
    kind = ", logarithmic" if scale.is_log else ""
    return f"curve: {ranking.study.metric} from {blocks[0]} {low}{less} to {blocks[-1]} {high}{more}{kind}"
