"""The plans of a verdict and their bounds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from adamtune.analysis.looks import FULL, GATE, SMALL, Plan, plan_for
from adamtune.errors import UsageError


@pytest.mark.parametrize(
    ("trainings", "plan", "needs"),
    [(1000, FULL, 63), (63, FULL, 63), (62, SMALL, 30), (30, SMALL, 30)],
)
def test_the_largest_plan_that_is_affordable(trainings: int, plan: Plan, needs: int) -> None:
    assert plan_for(trainings) == plan
    assert plan.trainings == needs


@pytest.mark.parametrize("trainings", range(10, 30))
def test_few_trainings_are_one_look(trainings: int) -> None:
    plan = plan_for(trainings)
    assert plan[:3] == (1, 0, (trainings // 2,))
    assert plan.bounds == pytest.approx([stats.t.isf(0.025, trainings // 2 - 1)], abs=6e-4)


def test_too_few_trainings() -> None:
    with pytest.raises(UsageError, match="at least 10 trainings; got 9"):
        plan_for(9)


def test_the_next_look() -> None:
    assert [FULL.next_look(pairs) for pairs in (0, 7, 8, 14, 23, 24)] == [8, 8, 14, 24, 24, None]


@pytest.mark.parametrize("plan", [SMALL, FULL, GATE])
def test_the_looks_share_the_errors_in_proportion_to_their_pairs(plan: Plan) -> None:
    draws = np.random.default_rng(1).standard_normal((100_000, plan.looks[-1]))
    open_, spent = np.ones(len(draws), bool), []
    for pairs, bound in zip(plan.looks, plan.bounds, strict=True):
        seen = draws[:, :pairs]
        crossed = np.abs(seen.mean(1)) > bound * seen.std(1, ddof=1) / np.sqrt(pairs)
        open_ &= ~crossed
        spent.append(1 - open_.mean())
    assert spent == pytest.approx([0.05 * pairs / plan.looks[-1] for pairs in plan.looks], abs=0.002)
