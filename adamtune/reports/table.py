"""The ranked table as lines of text that fit a width."""

from __future__ import annotations

from collections.abc import Sequence

from adamtune.reports.columns import columns
from adamtune.reports.grid import Column, fill, grid
from adamtune.reports.ranking import Ranking, Row

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
