"""Learning curves in characters: a line of blocks, or a chart of braille dots."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import isfinite, nan

BLOCKS = "▁▂▃▄▅▆▇█"
_BRAILLE = 0x2800
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a braille character, by row and column."""


def sparkline(values: Sequence[float], width: int = 10) -> str:
    """The values in at most ``width`` blocks, first and last kept; one that is not finite is a blank."""
    count = len(values)
    if count > width:
        values = [values[round(index * (count - 1) / (width - 1))] for index in range(width)]
    top = len(BLOCKS) - 1
    return "".join(BLOCKS[round(share * top)] if isfinite(share) else " " for share in _shares(values))


def _shares(values: Sequence[float]) -> list[float]:
    """Each value's place between the lowest (0) and the highest (1); NaN where it is not finite."""
    halves = [value / 2 for value in values]  # so that no difference overflows
    finite = [value for value in halves if isfinite(value)]
    low = min(finite, default=0.0)
    span = max(finite, default=0.0) - low or 1.0
    return [(value - low) / span if isfinite(value) else nan for value in halves]


def chart(points: Sequence[tuple[float, float]], width: int, height: int) -> list[str]:
    """The line through ``points`` (x ascending) as ``height`` rows of ``width`` braille characters.

    Points that are not finite are left out; fewer than two leave nothing to draw: no rows.
    """
    points = [point for point in points if isfinite(point[1])]
    if len(points) < 2:
        return []
    levels = _levels(points, 2 * width, 4 * height)
    cells = [[_BRAILLE] * width for _ in range(height)]
    for x, (before, level) in enumerate(zip(levels[:1] + levels, levels, strict=False)):
        for y in range(min(before, level), max(before, level) + 1):
            cells[y // 4][x // 2] |= _DOTS[y % 4][x % 2]
    return ["".join(map(chr, row)) for row in cells]


def _levels(points: Sequence[tuple[float, float]], columns: int, rows: int) -> list[int]:
    """The row of dots, from the top, at which the line crosses each column of dots."""
    steps = [step for step, _ in points]
    line = list(zip(steps, _shares([value for _, value in points]), strict=True))
    width = (steps[-1] - steps[0]) / (columns - 1)
    return [round((1 - _at(line, steps[0] + width * column)) * (rows - 1)) for column in range(columns)]


def _at(points: Sequence[tuple[float, float]], x: float) -> float:
    """The line through ``points`` at ``x``."""
    right = min(max(bisect_right(points, x, key=lambda point: point[0]), 1), len(points) - 1)
    (x0, y0), (x1, y1) = points[right - 1], points[right]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
