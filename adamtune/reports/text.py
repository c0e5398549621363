"""Columns of plain text, and lines filled with words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest


@dataclass(frozen=True)
class Column:
    """A column of text; a cell is empty where its row has no value.

    Attributes:
        left: whether its cells are aligned left.
    """

    name: str
    cells: Sequence[str]
    left: bool = False


def grid(columns: Sequence[Column], gap: int = 2) -> tuple[list[str], list[str]]:
    """The lines of the heading, and a line for each row.

    A name longer than its cells is broken after its underscores.
    """
    widths = [*map(width_of, columns)]
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


def width_of(column: Column) -> int:
    """The characters that a column is wide: its longest cell, or the longest piece of its name."""
    return max(map(len, [*column.cells, *_pieces(column.name)]))
