"""Which evaluations a thinned curve has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamtune.storage.curves import removed_steps

STEPS = st.sets(st.integers(0, 10_000)).map(sorted)


def left(steps: list[int]) -> list[int]:
    gone = removed_steps(steps)
    return [each for each in steps if each not in gone]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], []),
        ([7], [7]),
        ([*range(10, 101, 10)], [10, 30, 90, 100]),
        ([*range(1, 101)], [1, 3, 9, 27, 81, 100]),
        ([0, 5, 10, 15, 20], [0, 5, 15, 20]),
        ([10, 40, 50, 95, 100], [10, 40, 95, 100]),
    ],
)
def test_some_curves(steps: list[int], expected: list[int]) -> None:
    assert left(steps) == expected


@given(STEPS)
def test_a_thinned_curve_lacks_no_more(steps: list[int]) -> None:
    assert removed_steps(left(steps)) == []


@given(STEPS)
def test_the_first_and_the_last_are_kept_and_few_in_between(steps: list[int]) -> None:
    assert {*steps[:1], *steps[-1:]} <= {*left(steps)}
    assert len(left(steps)) <= 12
