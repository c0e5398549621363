"""Columns of text side by side."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from adamtune.analysis.ranking import Ranking, Row
from adamtune.reports import numbers
from adamtune.reports.numbers import sparkline
from adamtune.storage.records import TrialRecord


@dataclass(frozen=True)
class Column:
    """A column: its cells are empty where a row has nothing there.

    Attributes:
        left: whether its cells are aligned left.
        setting: whether it is a searched setting.
    """

    name: str
    cells: Sequence[str]
    left: bool = False
    setting: bool = False


def grid(columns: Sequence[Column], gap: int = 2) -> tuple[list[str], list[str]]:
    """The lines of the heading, and a line for each row.

    A name longer than its cells is broken after its underscores.
    """
    widths = [max(map(len, [*column.cells, *_pieces(column.name)])) for column in columns]
    names = [fill(_pieces(column.name), width, "") for column, width in zip(columns, widths, strict=True)]
    heading = [*zip_longest(*(name[::-1] for name in names), fillvalue="")][::-1]
    template = (" " * gap).join(
        f"{{:{'<' if column.left else '>'}{width}}}" for column, width in zip(columns, widths, strict=True)
    )
    rows = zip(*(column.cells for column in columns), strict=True)
    return [template.format(*row).rstrip() for row in heading], [
        template.format(*row).rstrip() for row in rows
    ]


def aligned(rows: Sequence[Sequence[str]], indent: str = "") -> list[str]:
    """Rows of one length, their cells aligned left."""
    _, lines = grid([Column("", cells, left=True) for cells in zip(*rows, strict=True)])
    return [indent + line for line in lines]


def fill(pieces: Iterable[str], width: int, gap: str) -> list[str]:
    """The pieces in lines of at most ``width`` characters; a piece is never broken."""
    lines = [""]
    for piece in pieces:
        if not lines[-1]:
            lines[-1] = piece
        elif len(lines[-1]) + len(gap) + len(piece) <= width:
            lines[-1] += gap + piece
        else:
            lines.append(piece)
    return lines


def _pieces(name: str) -> list[str]:
    return re.findall("[^_]+_?", name) or [""]


def columns(ranking: Ranking, rows: Sequence[Row], digits: int = 3, curve: int = 10) -> list[Column]:
    """Everything the ranked table shows, settings with ``digits`` significant digits."""
    trials = [row.trial for row in rows]
    spread = [_spread(trial) for trial in trials]
    return [
        Column("rank", [str(row.rank or "-") for row in rows]),
        Column("trial", [str(trial.number) for trial in trials]),
        Column("value", [_value(trial) for trial in trials]),
        *([Column("sd", spread)] if any(spread) else []),
        *(_setting(name, trials, digits) for name in ranking.searched),
        Column("steps", [str(trial.steps) for trial in trials]),
        Column("seconds", [numbers.seconds(trial.seconds) for trial in trials]),
        Column("curve", [sparkline(list(trial.intermediate.values()), curve) for trial in trials], left=True),
    ]


def _setting(name: str, trials: Sequence[TrialRecord], digits: int) -> Column:
    write = numbers.setting(name, digits)
    values = [trial.settings.get(name) for trial in trials]
    left = any(isinstance(value, str) for value in values)
    return Column(name, ["" if value is None else write(value) for value in values], left, setting=True)


def _value(trial: TrialRecord) -> str:
    """The value of a complete trial, the state of any other."""
    if trial.state == "complete" and trial.value is not None:
        return numbers.rounded(trial.value)
    return trial.state


def _spread(trial: TrialRecord) -> str:
    """The standard deviation over the training seeds, where there are several."""
    several = trial.state == "complete" and len(trial.seeds) > 1
    return numbers.rounded(statistics.stdev(trial.seeds), 2) if several else ""


_LAYOUTS = ((3, 10, 2), (2, 10, 2), (2, 8, 1), (2, 6, 1))
"""(significant digits, width of the curve, gap between columns), tried in order."""

_INDENT = " " * 6


def table(ranking: Ranking, rows: Sequence[Row], width: int) -> tuple[list[str], list[str]]:
    """The lines of the heading, and a text for each row.

    The first layout that fits ``width`` is taken. Where none does, each trial's settings go below
    it, as ``name=value``, so that nothing is cut.
    """
    for layout in _LAYOUTS:
        if _fits(_laid_out(ranking, rows[:20], layout), width):  # spares most of the work where it does not
            whole = _laid_out(ranking, rows, layout)
            if _fits(whole, width):
                return whole
    return _folded(columns(ranking, rows), width)


def _folded(cells: Sequence[Column], width: int) -> tuple[list[str], list[str]]:
    heading, lines = grid([column for column in cells if not column.setting])
    settings = [column for column in cells if column.setting]
    for row, line in enumerate(lines):
        pairs = (f"{column.name}={column.cells[row]}" for column in settings if column.cells[row])
        below = fill(pairs, width - len(_INDENT), " ")
        lines[row] = "\n".join([line, *(_INDENT + each for each in below if each)])
    return heading, lines


def _laid_out(
    ranking: Ranking, rows: Sequence[Row], layout: tuple[int, int, int]
) -> tuple[list[str], list[str]]:
    digits, curve, gap = layout
    return grid(columns(ranking, rows, digits, curve), gap)


def _fits(text: tuple[list[str], list[str]], width: int) -> bool:
    return all(len(line) <= width for part in text for line in part)
