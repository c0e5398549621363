"""What suggests the settings of the next trial.

Every suggestion's randomness comes from (seed, trial number): a sampler is made or seeded anew for each
trial, so that a resumed study goes on as if it had never stopped, and repeats nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import islice
from math import exp, log
from typing import Any

import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from adamtune.config import StudyConfig
from adamtune.search.samplers.independent import Independent
from adamtune.search.samplers.tpe import Tpe
from adamtune.search.trial import grid
from adamtune.tasks.randomness import derive

MODELS = frozenset({"tpe", "gp", "cmaes"})
BLIND = 10
"""Samplers with a model begin when so many trials are finished; before, quasi-random points."""


def sampler(study: StudyConfig, number: int, finished: int, tpe: Tpe) -> BaseSampler:
    """The sampler of trial ``number``, asked when ``finished`` trials were over; ``tpe`` is the study's."""
    name = study.search.sampler
    if name == "grid":
        return GridPoint(next(islice(grid(study.space), number, None)))
    if not study.space.searched:
        return RandomSampler()  # never asked: every trial is the same
    if name == "qmc" or (name in MODELS and finished < BLIND):
        return SobolPoint(list(study.space.searched), study.search.seed, number)
    seed = derive(study.search.seed, "sampler", number)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        match name:
            case "tpe":
                return tpe.seeded(seed)
            case "gp":
                return GPSampler(seed=seed, n_startup_trials=0, warn_independent_sampling=False)
            case "cmaes":
                return CmaEsSampler(seed=seed, n_startup_trials=0, warn_independent_sampling=False)
    return RandomSampler(seed=seed)


class ByNumber(BaseSampler):
    """Samples each trial with a sampler of its own.

    Args:
        study: the study file.
        finished: how many trials are over.
    """

    def __init__(self, study: StudyConfig, finished: Callable[[], int]) -> None:
        self._study, self._finished = study, finished
        self._sampler: BaseSampler = RandomSampler()
        self._tpe = Tpe()

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Makes the trial's sampler."""
        number = trial.number
        if self._study.search.sampler == "grid":
            number = self._combination(study, number)
        self._sampler = sampler(self._study, number, self._finished(), self._tpe)
        self._sampler.before_trial(study, trial)

    def _combination(self, study: Study, number: int) -> int:
        """The combination of a trial; one beyond the grid is for a trial that failed."""
        while number >= self._study.space.combinations:
            failed = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
            number = failed[number - self._study.space.combinations].number
        return number

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters that are sampled together."""
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Their values."""
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The value of a parameter that is sampled alone."""
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)


class GridPoint(Independent):
    """One combination of a grid."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._params = params

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The combination's value."""
        return self._params[param_name]


class SobolPoint(Independent):
    """Point ``number`` of a scrambled Sobol sequence, with a dimension for every searched parameter.

    Quasi-random points cover a space more evenly than random ones (Sobol 1967; Owen 1998).
    """

    def __init__(self, names: list[str], seed: int, number: int) -> None:
        point = _sobol_points(len(names), derive(seed, "sobol"), number // BLOCK)[number % BLOCK]
        self._point = dict(zip(names, point, strict=True))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The point's coordinate, as a value of the distribution."""
        return at_quantile(param_distribution, self._point[param_name])


BLOCK = 64


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
    integer = isinstance(distribution, IntDistribution)
    low, high = distribution.low - 0.5 * integer, distribution.high + 0.5 * integer
    if distribution.log:
        value = exp(log(low) + quantile * (log(high) - log(low)))
    else:
        value = low + quantile * (high - low)
    value = min(max(value, distribution.low), distribution.high)
    return round(value) if integer else value
