"""Numbers and columns as plain text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from textwrap import wrap
from typing import Any

from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.schedules.registry import SCHEDULES

NEAR_ONE = frozenset(
    each.name
    for entry in (*OPTIMIZERS.values(), *SCHEDULES.values())
    for each in entry.hyperparameters
    if each.complement
)
"""Hyperparameters of which the distance from one counts: 0.9987 and 0.999 differ by a third."""


def rounded(number: float, digits: int = 4) -> str:
    """``digits`` significant digits, trailing zeros kept: 0.05610, 12.30, 1.200e-7."""
    if number == 0 or not math.isfinite(number):
        return f"{number:g}"
    mantissa, exponent = f"{number:.{digits - 1}e}".split("e")
    # The exponent is taken after rounding: 9.9999 has five digits before it is rounded, and becomes 10.00.
    power = int(exponent)
    return f"{number:.{max(digits - 1 - power, 0)}f}" if -3 <= power < 5 else f"{mantissa}e{power}"


def significant(number: float, digits: int = 3) -> str:
    """``digits`` significant digits without trailing zeros: 0.0312, 3.1e-4, 1e-8."""
    mantissa, e, exponent = rounded(number, digits).partition("e")
    return (mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa) + e + exponent


def near_one(number: float, digits: int) -> str:
    """A number in [0, 1] to ``digits`` significant digits of the smaller of it and 1 minus it: 0.9987."""
    # Near 0 the digits of the number itself count, near 1 those of its distance.
    distance = min(number, 1 - number)
    if not 0 < distance < 1:
        return f"{number:g}"
    decimals = digits - 1 - math.floor(math.log10(distance))
    return f"{number:.{decimals}f}".rstrip("0").rstrip(".")


def setting(name: str, digits: int = 3) -> Callable[[Any], str]:
    """The function that writes a value of the setting ``name``, floats to ``digits`` significant digits."""
    real = near_one if name in NEAR_ONE else significant

    def write(value: Any) -> str:
        if value is None or isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, float):
            return real(value, digits)
        if isinstance(value, list | tuple):
            return ",".join(map(write, value))
        return str(value)

    return write


def seconds(value: float) -> str:
    """Seconds with three significant digits at most: 0.31, 12.3, 1234."""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def duration(value: float) -> str:
    """Seconds as a sentence has them: 0.6 s, 42 s, 1 min 5 s, 2 h 3 min."""
    if value < 1:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def clock(value: float) -> str:
    """Seconds in the form of a clock: 0:05, 12:30, 1:02:03."""
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


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
    # Reversed twice: names of fewer lines stand at the bottom, next to their cells.
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


def paragraph(text: str, width: int) -> list[str]:
    """The lines of a text, broken between words at ``width`` characters; a longer word is never broken."""
    kept = text.replace(" %", "\xa0%")  # a number and its unit stay together
    lines = wrap(kept, width, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\xa0", " ") for line in lines]


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
