"""Curves as text: in blocks and braille, or in ASCII where the terminal cannot show these."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from math import isfinite, isnan, log, nan
from typing import NamedTuple

BLOCKS, ASCII_BLOCKS = "▁▂▃▄▅▆▇█", "_.-:=+*#"
# A braille character has two by four dots: a curve of 60 characters has 120 columns.
_BRAILLE = 0x2800
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a braille character, by row and column."""

_FAR_OUT = 1.5
"""Interquartile ranges beyond the quartiles: Tukey's bound for values that are far out."""
_DECADE = 10


class Scale(NamedTuple):
    """An axis from ``low`` to ``high``, of the logarithm where ``is_log``."""

    low: float
    high: float
    is_log: bool = False

    @classmethod
    def of(cls, values: Iterable[float], direction: str = "minimize") -> Scale | None:
        """The scale of values of which the worst may be outliers; None where none is finite.

        It is logarithmic where the quartiles are more than a decade apart, and it ends at the worst value
        that is not far out by Tukey's rule. The best value is always on it.

        Args:
            values: some of them may not be finite.
            direction: ``minimize`` or ``maximize``; says which values are the worst.
        """
        ordered = sorted(filter(isfinite, values))
        if not ordered:
            return None
        quarter = len(ordered) // 4
        first, third = ordered[quarter], ordered[-1 - quarter]  # the quartiles
        is_log = ordered[0] > 0 and third / _DECADE > first
        if first != third:
            position = cls(first, third, is_log).position
            inside = [each for each in ordered if -_FAR_OUT <= position(each) <= 1 + _FAR_OUT]
        else:
            inside = ordered
        if direction == "minimize":
            return cls(ordered[0], inside[-1], is_log)
        return cls(inside[0], ordered[-1], is_log)

    def position(self, value: float) -> float:
        """Where a value is: 0 at the low end, 1 at the high one; NaN where it is not finite.

        A value far beyond a scale that is nearly a point may be at infinity.
        """
        if not isfinite(value):
            return nan
        if self.is_log:
            return (log(value) - log(self.low)) / (log(self.high) - log(self.low) or 1.0)
        half = self.low / 2  # so that no difference overflows
        return (value / 2 - half) / (self.high / 2 - half or 1.0)

    def at(self, position: float) -> float:
        """The value at a position."""
        if self.is_log:
            return float(self.low * (self.high / self.low) ** position)
        return self.low * (1 - position) + self.high * position


def sparkline(
    values: Sequence[float], width: int = 10, scale: Scale | None = None, unicode: bool = True
) -> str:
    """The values as at most ``width`` blocks, the first and the last included.

    A value that is not finite is a blank; one beyond the scale is at its end.

    Args:
        values: the values.
        width: characters.
        scale: from the lowest to the highest block; by default from the lowest to the highest value.
        unicode: whether the characters may be others than ASCII.
    """
    count, blocks = len(values), BLOCKS if unicode else ASCII_BLOCKS
    if scale is None:
        finite = [*filter(isfinite, values)]
        scale = Scale(min(finite, default=0.0), max(finite, default=0.0))
    if count > width:
        values = [values[round(index * (count - 1) / (width - 1))] for index in range(width)]
    positions = map(scale.position, values)
    return "".join(
        " " if isnan(each) else blocks[round(min(max(each, 0), 1) * (len(blocks) - 1))] for each in positions
    )


class Canvas:
    """Dots in a rectangle of characters: two by four in one of braille, one in one of ASCII.

    Args:
        width, height: its size in characters.
        unicode: whether the characters may be braille.

    Attributes:
        columns, rows: its size in dots.
    """

    def __init__(self, width: int, height: int, unicode: bool = True) -> None:
        self._across, self._down = (2, 4) if unicode else (1, 1)
        self.columns, self.rows = width * self._across, height * self._down
        self._unicode = unicode
        self._cells = [[0] * width for _ in range(height)]

    def add(self, column: int, row: int) -> None:
        """Adds a dot; row 0 is the top."""
        bit = _DOTS[row % self._down][column % self._across]
        self._cells[row // self._down][column // self._across] |= bit

    def cell(self, column: int, row: int) -> tuple[int, int]:
        """The character, by column and row, that has a dot."""
        return column // self._across, row // self._down

    def lines(self) -> list[str]:
        """The rows of characters, the top first, without blanks at their ends."""
        return ["".join(map(self._character, row)).rstrip() for row in self._cells]

    def _character(self, dots: int) -> str:
        if not dots:
            return " "
        return chr(_BRAILLE + dots) if self._unicode else "*"


def staircase(
    points: Sequence[tuple[float, float]], scale: Scale, size: tuple[int, int], unicode: bool = True
) -> list[str]:
    """A value that changes at some points and stays between, drawn from the first point to the last.

    Args:
        points: x (ascending) and the finite value from there on.
        scale: of the values.
        size: width and height in characters.
        unicode: whether the characters may be braille.
    """
    canvas = Canvas(*size, unicode)
    begins = [x for x, _ in points]
    stride = (begins[-1] - begins[0]) / (canvas.columns - 1)
    rows = []
    for column in range(canvas.columns):
        _, value = points[max(bisect_right(begins, begins[0] + stride * column), 1) - 1]
        rows.append(round((1 - min(max(scale.position(value), 0), 1)) * (canvas.rows - 1)))
    # Each column is filled from the row of the one before, so that a steep line has no gaps.
    for column, (before, row) in enumerate(zip(rows[:1] + rows, rows, strict=False)):
        for each in range(min(before, row), max(before, row) + 1):
            canvas.add(column, each)
    return canvas.lines()
