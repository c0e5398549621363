"""The choice of the candidate, and the trials tied with the best."""

from __future__ import annotations

import math

import pytest

from adamtune.analysis.finalists import choose


@pytest.mark.parametrize(
    ("finalists", "direction", "chosen"),
    [
        ({7: [1.0, 3.0], 3: [1.0, 1.0]}, "minimize", 3),
        ({7: [1.0, 3.0], 3: [1.0, 1.0]}, "maximize", 7),
        ({7: [1.0, 2.0], 3: [2.0, 1.0]}, "minimize", 3),
        ({7: [5.0, 5.0], 3: [1.0, None]}, "minimize", 7),
        ({7: [5.0, 5.0], 3: [9.0, math.inf]}, "maximize", 7),
        ({7: [math.nan, 1.0], 3: [1.0, None]}, "minimize", None),
        ({7: []}, "minimize", 7),
        ({}, "minimize", None),
    ],
)
def test_the_candidate(finalists: dict[int, list[float | None]], direction: str, chosen: int | None) -> None:
    assert choose(finalists, direction) == chosen
