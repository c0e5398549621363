from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamtune.config import parse_duration
from adamtune.config.duration import PATTERN


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("2d", 172800),
        ("1h1s", 3601),
        (" 5m ", 300),
        ("30", 30),
        (" 60.5 ", 60.5),
        ("1e3", 1000),
    ],
)
def test_texts(text: str, seconds: float):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "-1",
        "010",
        "1:30",
        "1e999",
        ".inf",
        "m",
        "30 m",
        "30m1h",
        "-5m",
        "0s",
        "1.2.3s",
        ".s",
        "5min",
        "1h,5m",
        "nan",
    ],
)
def test_others_are_no_durations(text: str):
    with pytest.raises(ValueError, match=r"found .* allowed: a number of seconds above 0, or a dur"):
        parse_duration(text)


def test_numbers_are_left_to_their_type():
    assert parse_duration(12.5) == 12.5
    assert parse_duration(None) is None


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99), st.integers(1, 99))
def test_the_sum_of_the_parts(days: int, hours: int, minutes: int, seconds: int):
    text = f"{days}d{hours}h{minutes}m{seconds}s"
    assert re.search(PATTERN, text)
    assert parse_duration(text) == ((days * 24 + hours) * 60 + minutes) * 60 + seconds
