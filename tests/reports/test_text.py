from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamtune.reports.text import clock, duration, near_one, paragraph, rounded, seconds, setting, significant


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0561, "0.05610"),
        (12.3, "12.30"),
        (1.2e-7, "1.200e-7"),
        (99999.6, "1.000e5"),
        (-0.5, "-0.5000"),
        (0.0, "0"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_rounded_keeps_trailing_zeros(number: float, text: str) -> None:
    assert rounded(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.0031, "0.0031"), (3.1e-4, "3.1e-4"), (1e-8, "1e-8"), (64.0, "64"), (100.0, "100"), (2e6, "2e6")],
)
def test_significant_is_as_people_write(number: float, text: str) -> None:
    assert significant(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.9, "0.9"), (0.9987, "0.9987"), (0.999, "0.999"), (0.0, "0"), (0.05, "0.05"), (0.99812345, "0.99812")],
)
def test_near_one_keeps_the_distance_from_one(number: float, text: str) -> None:
    assert near_one(number, 3) == text


@given(st.floats(1e-11, 0.5))
def test_near_one_loses_no_significance(distance: float) -> None:
    shown = 1 - float(near_one(1 - distance, 3))
    assert shown == pytest.approx(distance, rel=6e-3)


@given(st.floats(1e-300, 1e300))
def test_significant_reads_back(number: float) -> None:
    assert float(significant(number)) == pytest.approx(number, rel=5.1e-3)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("beta2", 0.99987, "0.99987"),
        ("momentum", 0.99987, "1"),
        ("amsgrad", True, "true"),
        ("drops", 3, "3"),
        ("schedule", "cosine", "cosine"),
        ("channels", [16, 32], "16,32"),
    ],
)
def test_settings_are_written_by_their_kind(name: str, value: object, text: str) -> None:
    assert setting(name)(value) == text


def test_durations() -> None:
    assert [clock(each) for each in (5, 750, 3723)] == ["0:05", "12:30", "1:02:03"]
    assert [duration(each) for each in (0.04, 0.62, 3.6, 59.7, 65, 7384)] == [
        *("0.0 s", "0.6 s", "4 s", "1 min 0 s", "1 min 5 s", "2 h 3 min")
    ]
    assert [seconds(each) for each in (0.312, 12.34, 1234.5)] == ["0.31", "12.3", "1234"]


def test_paragraphs_break_between_words_and_keep_numbers_with_their_unit() -> None:
    assert paragraph("lower by 0.1 (95 %), on a-rather-long-word", 17) == [
        "lower by 0.1",
        "(95 %), on",
        "a-rather-long-word",
    ]
