"""Densities are those of Optuna's sampler, and what is drawn has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator

from adamtune.search.samplers.parzen import density

DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "float": FloatDistribution(-2.0, 3.0),
    "tiny": FloatDistribution(1.0, 1.0 + 1e-9),
    "float, log": FloatDistribution(1e-10, 1e3, log=True),
    "int": IntDistribution(1, 4),
    "int, wide": IntDistribution(-7, 3000),
    "int, log": IntDistribution(1, 1000, log=True),
    "choice": CategoricalDistribution(("a", None, 3, 0.5, True)),
    "many": CategoricalDistribution(tuple(range(40))),
}


def values(distribution: BaseDistribution, seed: int, count: int) -> list[Any]:
    """Spread over the range, its ends and ties among them."""
    rng = np.random.default_rng(seed)
    if isinstance(distribution, CategoricalDistribution):
        return [distribution.choices[place] for place in rng.integers(len(distribution.choices), size=count)]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    part = np.round(rng.random(count), 2) if seed % 2 else rng.random(count)
    low, high = distribution.low, distribution.high
    found = low * (high / low) ** part if distribution.log else low + (high - low) * part
    return [distribution.to_external_repr(float(each)) for each in found.clip(low, high)]


def optunas(distribution: BaseDistribution, seen: list[Any]) -> _ParzenEstimator:
    inner = np.array([distribution.to_internal_repr(each) for each in seen])
    return _ParzenEstimator(
        {"x": inner}, {"x": distribution}, TPESampler(multivariate=False)._parzen_estimator_parameters
    )


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@given(seed=st.integers(0, 2**32), count=st.integers(0, 60))
@example(0, 250)
@example(1, 250)
def test_densities_are_optunas(name: str, seed: int, count: int) -> None:
    distribution = DISTRIBUTIONS[name]
    seen = values(distribution, seed, count)
    at = np.array([distribution.to_internal_repr(each) for each in values(distribution, seed + 1, 40)])
    expected = optunas(distribution, seen).log_pdf({"x": at})
    np.testing.assert_allclose(np.log(density(distribution, seen)(at)), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("count", [0, 1, 2, 40])
def test_draws_have_the_density(name: str, count: int) -> None:
    """As many of them lie below any value as of those that Optuna draws."""
    distribution, size = DISTRIBUTIONS[name], 20_000
    seen = values(distribution, 2, count)
    ours = np.sort(density(distribution, seen).sample(np.random.default_rng(0), size))
    theirs = np.sort(optunas(distribution, seen).sample(np.random.RandomState(0), size)["x"])
    every = np.unique(np.concatenate([ours, theirs]))
    below = [drawn.searchsorted(every, side="right") / size for drawn in (ours, theirs)]
    assert np.abs(below[0] - below[1]).max() < 1.95 * (2 / size) ** 0.5  # Kolmogorov and Smirnov, 0.1 %
    assert all(distribution._contains(each) for each in ours[:: size // 100].tolist())
