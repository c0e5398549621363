"""Samplers that draw each parameter by its name alone: at random, or at a given point."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import exp, floor, log, nextafter
from typing import Any

import numpy as np
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from adamtune.tasks.randomness import derive

BLOCK = 64
"""Points of a Sobol sequence that are computed together."""


class IndependentSampler(BaseSampler):
    """A sampler that samples no parameters together."""

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """No parameters."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """No values."""
        return {}


class FixedPoint(IndependentSampler):
    """A sampler that returns given values, such as one combination of a grid."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._params = params

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The given value of the parameter."""
        return self._params[param_name]


class RandomPoint(IndependentSampler):
    """A sampler that draws what Optuna's ``RandomSampler`` draws, without an array for each parameter."""

    def __init__(self) -> None:
        self._rng = np.random.RandomState()

    def seeded(self, seed: int) -> RandomPoint:
        """The sampler itself, its random generator seeded anew."""
        self._rng.seed(seed)
        return self

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value of the parameter."""
        if isinstance(param_distribution, CategoricalDistribution):
            choices = param_distribution.choices
            return choices[int(self._rng.uniform(size=len(choices)).argmax())]
        assert isinstance(param_distribution, FloatDistribution | IntDistribution)
        low, high = param_distribution.low, param_distribution.high
        drawn = self._rng.uniform(*_bounds(param_distribution))
        value = exp(drawn) if param_distribution.log else drawn
        if isinstance(param_distribution, IntDistribution):
            whole = round(value) if param_distribution.log else floor(value - low + 0.5) + low
            return min(max(whole, low), high)
        return min(max(value, low), nextafter(high, high - 1))


class SobolPoint(IndependentSampler):
    """A sampler that returns point ``number`` of a scrambled Sobol sequence.

    The sequence has a dimension for every searched parameter. Quasi-random points cover a space more
    evenly than random ones (Sobol 1967; Owen 1998).
    """

    def __init__(self, names: list[str], seed: int, number: int) -> None:
        point = _sobol_points(len(names), derive(seed, "sobol"), number // BLOCK)[number % BLOCK]
        self._point = dict(zip(names, point, strict=True))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The point's coordinate, as a value of the distribution."""
        return at_quantile(param_distribution, self._point[param_name])


# A generator begins anew for each trial; a block of 64 points costs about as much as one.
@lru_cache(maxsize=2)
def _sobol_points(dimensions: int, seed: int, block: int) -> list[list[float]]:
    """The block's points of a scrambled Sobol sequence."""
    engine: Any = torch.quasirandom.SobolEngine(dimensions, scramble=True, seed=seed)
    points: list[list[float]] = engine.fast_forward(block * BLOCK).draw(BLOCK, dtype=torch.float64).tolist()
    return points


def at_quantile(distribution: BaseDistribution, quantile: float) -> Any:
    """The value below which a fraction ``quantile`` in [0, 1) of the distribution lies."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(quantile * len(distribution.choices))]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = _bounds(distribution)
    drawn = low + quantile * (high - low)
    value = exp(drawn) if distribution.log else drawn
    # exp(log(low)) may be a bit less than low, which Optuna refuses.
    value = min(max(value, distribution.low), distribution.high)
    return round(value) if isinstance(distribution, IntDistribution) else value


def _bounds(distribution: FloatDistribution | IntDistribution) -> tuple[float, float]:
    """The ends of the range that values are drawn from, or of their logarithms."""
    # Rounding gives every integer an equal part of the range, the first and the last too.
    beyond = 0.5 * isinstance(distribution, IntDistribution)
    low, high = distribution.low - beyond, distribution.high + beyond
    return (log(low), log(high)) if distribution.log else (low, high)
