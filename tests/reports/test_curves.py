from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adamtune.reports.curves import BLOCKS, Scale, sparkline, staircase


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


def test_values_beyond_the_scale_are_at_its_ends() -> None:
    assert sparkline([9, 2, 1, -5], scale=Scale(1, 2)) == "██▁▁"


def test_curves_without_unicode() -> None:
    assert sparkline(range(8), unicode=False) == "_.-:=+*#"
    assert staircase([(1, 1.0), (2, 0.0), (3, 0.0)], Scale(0, 1), (5, 2), unicode=False) == ["***", "  ***"]


def test_a_scale_leaves_out_the_worst_alone() -> None:
    values = [0.1, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 9.0, nan, inf]
    assert Scale.of(values) == Scale(0.1, 1.6)
    assert Scale.of(values, "maximize") == Scale(1.0, 9.0)
    assert Scale.of([2.0] * 9 + [3.0]) == Scale(2.0, 3.0)
    assert Scale.of([nan, inf]) is None


def test_values_of_many_decades_have_a_logarithmic_scale() -> None:
    scale = Scale.of([10.0**power for power in range(-6, 3)])
    assert scale == Scale(1e-6, 100.0, is_log=True)
    assert scale is not None
    assert [scale.position(each) for each in (1e-6, 1e-2, 1e2)] == pytest.approx([0, 0.5, 1])
    assert scale.at(0.25) == pytest.approx(1e-4)


def test_staircase_keeps_each_value_to_the_next_point() -> None:
    points = [(1, 1.0), (5, 0.5), (9, 0.0), (17, 0.0)]
    assert staircase(points, Scale(0, 1), (8, 2)) == ["⠉⠉⡇", "  ⠉⠉⣇⣀⣀⣀"]


@given(
    st.lists(
        st.tuples(st.integers(0, 1000), st.floats(allow_nan=False, allow_infinity=False)),
        min_size=1,
        max_size=30,
        unique_by=lambda point: point[0],
    ),
    st.integers(1, 40),
    st.integers(1, 8),
)
def test_a_staircase_has_a_dot_in_every_column(
    points: list[tuple[int, float]], width: int, height: int
) -> None:
    values = [value for _, value in points]
    rows = staircase(sorted(points), Scale(min(values), max(values)), (width, height))
    assert len(rows) == height
    assert max(map(len, rows)) == width
    assert all(any(row[at : at + 1].strip() for row in rows) for at in range(width))


@example([0.0, 1.884e-198, 5e-324, -3.387e110], "maximize")  # which is at infinity of its scale
@given(st.lists(st.floats(), max_size=30), st.sampled_from(["minimize", "maximize"]))
def test_every_scale_has_the_best_value_and_draws_every_curve(values: list[float], direction: str) -> None:
    scale = Scale.of(values, direction)
    finite = [each for each in values if abs(each) < inf]
    assert (scale is None) == (not finite)
    if scale is not None:
        assert (min if direction == "minimize" else max)(finite) in scale[:2]
    drawn = sparkline(values, 30, scale)
    assert [each != " " for each in drawn] == [abs(each) < inf for each in values]
