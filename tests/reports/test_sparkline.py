from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamtune.reports.curves import BLOCKS, sparkline


def test_lowest_value_is_lowest() -> None:
    assert sparkline(range(8)) == BLOCKS
    assert sparkline([3, 1, 2]) == "█▁▅"


def test_first_and_last_are_kept() -> None:
    assert sparkline([9, *[5] * 100, 1], width=5) == "█▅▅▅▁"


@pytest.mark.parametrize(
    ("values", "line"), [([], ""), ([nan], " "), ([2, 2], "▁▁"), ([1, nan, inf, 0], "█  ▁")]
)
def test_odd_curves(values: list[float], line: str) -> None:
    assert sparkline(values) == line


def test_chart_follows_the_line() -> None:
    assert chart([(10, 1.0), (20, 0.0)], width=4, height=2) == ["⠙⢦⡀⠀", "⠀⠀⠙⢦"]
    assert chart([(0, 0.0), (1, 1.0), (2, 0.0)], width=4, height=1) == ["⣠⠞⠙⢦"]


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.floats()), max_size=30, unique_by=lambda point: point[0]),
    st.integers(1, 40),
    st.integers(1, 8),
)
def test_chart_fills_its_size_or_is_empty(points: list[tuple[int, float]], width: int, height: int) -> None:
    rows = chart(sorted(points), width, height)
    finite = [value for _, value in points if abs(value) < inf]
    assert len(rows) == (height if len(finite) > 1 else 0)
    assert all(len(row) == width for row in rows)
    columns = zip(*rows, strict=True)
    assert all(any(character != "⠀" for character in column) for column in columns)
