"""The charts: what they draw of studies of every kind."""

from __future__ import annotations

import pytest

from adamtune.reports.charts.learning_rate import lr_curve
from adamtune.schedules.registry import SCHEDULES, lr_factors

from ..examples import variants


@pytest.mark.parametrize("name", SCHEDULES)
def test_numpy_computes_the_factors_that_torch_does(name: str) -> None:
    for values in variants(SCHEDULES[name]):
        for total in (1, 2, 57, 230):
            expected = lr_factors(name, values, total)[::3]
            found = lr_curve(name, values, total, [*range(0, total, 3)])
            assert found == pytest.approx(expected, rel=1e-12, abs=1e-15), (values, total)
