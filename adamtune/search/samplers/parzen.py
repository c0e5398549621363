"""Densities of one parameter's values, as TPE estimates them (Bergstra et al., 2011).

Each value seen is the middle of a kernel, and one more kernel covers the whole range. Widths and weights
are those of Optuna's sampler with its defaults (Watanabe, 2023, arXiv 2304.11127). Optuna's own code takes
three to five times as long, because it computes for each parameter what all parameters share.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

Vector = NDArray[np.float64]
FULL = 25
"""How many of the latest values have full weight; the weights of older ones fall linearly."""
NARROWEST = 100
"""A kernel is at least as wide as the range divided by this."""


class Density(Protocol):
    """The density of a parameter. Its values are numbers; those of a choice are places among the choices."""

    def sample(self, rng: np.random.Generator, size: int) -> Vector:
        """Draws ``size`` values."""

    def __call__(self, values: Vector) -> Vector:
        """The density at each value, or for integers and choices its probability; more than 0."""


def density(distribution: BaseDistribution, seen: Sequence[Any]) -> Density:
    """The density of a parameter that has had the values ``seen``, the latest last."""
    if isinstance(distribution, CategoricalDistribution):
        return Choices(distribution, seen)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return Numbers(distribution, seen)


class Choices:
    """The density of a choice. The kernel of a value seen gives a part of its weight to the other choices."""

    def __init__(self, distribution: CategoricalDistribution, seen: Sequence[Any]) -> None:
        choices, weights = len(distribution.choices), kernel_weights(len(seen))
        place = {each: number for number, each in enumerate(distribution.choices)}
        found = [place[each] for each in seen]
        spread = 1 / len(weights)
        each = np.bincount(found, weights[:-1], choices) + spread * weights[:-1].sum()
        self._shares: Vector = each / (1 + choices * spread) + weights[-1] / choices

    def sample(self, rng: np.random.Generator, size: int) -> Vector:
        """Draws ``size`` values."""
        return _drawn(self._shares, rng, size).astype(np.float64)

    def __call__(self, values: Vector) -> Vector:
        """The probability of each value."""
        return self._shares[values.astype(np.int64)]


class Numbers:
    """The density of a number: a mixture of normal distributions cut off at the ends of the range.

    On a log scale, they are distributions of the values' logarithms.
    """

    def __init__(self, distribution: FloatDistribution | IntDistribution, seen: Sequence[float]) -> None:
        self._distribution, self._integer = distribution, isinstance(distribution, IntDistribution)
        # An integer stands for the numbers that round to it, so the range is half a step wider at both ends.
        half = 0.5 * self._integer
        ends = self._scaled(np.array([distribution.low - half, distribution.high + half]))
        self._low, self._high = ends.tolist()
        self._mu, self._sigma = np.empty((2, len(seen) + 1))
        self._mu[:-1] = middles = self._scaled(np.array(seen, dtype=np.float64))
        self._sigma[:-1] = widths(middles, self._low, self._high)
        self._mu[-1], self._sigma[-1] = (self._low + self._high) / 2, self._high - self._low
        below = _normal((ends[:, None] - self._mu) / self._sigma)
        self._outside, self._inside = below[0], below[1] - below[0]
        self._weights = kernel_weights(len(seen))
        self._shares: Vector = self._weights / self._inside

    def sample(self, rng: np.random.Generator, size: int) -> Vector:
        """Draws ``size`` values."""
        kernel = _drawn(self._weights, rng, size)
        quantile = self._outside[kernel] + rng.random(size) * self._inside[kernel]
        scaled = self._mu[kernel] + self._sigma[kernel] * _normal_quantile(quantile)
        # A quantile of 0 or 1 is infinite.
        scaled = np.minimum(np.maximum(scaled, self._low), self._high)
        values = np.exp(scaled) if self._distribution.log else scaled
        values = np.round(values) if self._integer else values
        within: Vector = np.minimum(np.maximum(values, self._distribution.low), self._distribution.high)
        return within

    def __call__(self, values: Vector) -> Vector:
        """The density at each value on the scale that is searched, or the probability of an integer."""
        if self._integer:
            ends = self._scaled(np.stack([values - 0.5, values + 0.5]))
            below = _normal((ends[:, :, None] - self._mu) / self._sigma)
            probability: Vector = (below[1] - below[0]) @ self._shares
            return probability
        x = (self._scaled(values)[:, None] - self._mu) / self._sigma
        found: Vector = np.exp(-0.5 * x * x) @ (self._shares / self._sigma) / np.sqrt(2 * np.pi)
        return found

    def _scaled(self, values: Vector) -> Vector:
        scaled: Vector = np.log(values) if self._distribution.log else values
        return scaled


@lru_cache(maxsize=64)  # all parameters of a suggestion have about as many
def kernel_weights(seen: int) -> Vector:
    """The weights of the kernels of ``seen`` values, the latest last, then of the one over the range.

    Their sum is 1.
    """
    weights = np.ones(seen + 1)
    if seen > FULL:
        weights[: seen - FULL] = np.linspace(1 / seen, 1, seen - FULL)
    weights /= weights.sum()
    return weights


def widths(middles: Vector, low: float, high: float) -> Vector:
    """The widths of the kernels: the distance to the farther neighbour, but at least a limit."""
    count = len(middles)
    if not count:
        return middles
    order = middles.argsort()
    points = np.empty(count + 2)
    points[0], points[1:-1], points[-1] = low, middles[order], high
    gaps = points[1:] - points[:-1]
    if count > 1:
        gaps[0] = gaps[-1] = 0  # the ends of the range are no neighbours, unless there are no others
    found = np.empty(count)
    found[order] = np.maximum(gaps[:-1], gaps[1:])
    limit = (high - low) / min(NARROWEST, count + 2)
    return np.minimum(np.maximum(found, limit), high - low)


def _drawn(weights: Vector, rng: np.random.Generator, size: int) -> NDArray[np.int64]:
    """Draws ``size`` indices of ``weights``, each with a probability in proportion to its weight."""
    until = weights.cumsum()
    places: NDArray[np.int64] = until.searchsorted(rng.random(size) * until[-1], side="right")
    # Rounding may draw exactly the sum of the weights, which lies behind the last.
    return np.minimum(places, len(until) - 1)


def _normal(x: Vector) -> Vector:
    """The standard normal distribution function at each x."""
    # torch has it for arrays; SciPy is not required by adamtune.
    found: Vector = torch.special.ndtr(torch.from_numpy(x)).numpy()
    return found


def _normal_quantile(part: Vector) -> Vector:
    """The inverse of ``_normal``."""
    found: Vector = torch.special.ndtri(torch.from_numpy(part)).numpy()
    return found
