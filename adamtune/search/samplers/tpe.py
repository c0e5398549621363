"""The tree-structured Parzen estimator: suggests what is likelier among good trials than among others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial
from typing_extensions import override

from adamtune.search.samplers.history import NUMBER, TrialHistory
from adamtune.search.samplers.parzen import Density, density
from adamtune.search.samplers.points import IndependentSampler
from adamtune.storage.optuna_private import all_trials

Params = dict[str, Any]
DRAWN = 24
"""Values drawn from the good trials' density, of which the best is suggested."""


class TpeSampler(IndependentSampler):
    """TPE (Bergstra et al., 2011), one parameter at a time, with the rules and defaults of Optuna's.

    Modelled together, parameters converge too early (docs/performance.md). Running trials count as bad, so
    that the trials of a round differ. One sampler serves all trials of a study, and keeps what they share.

    Args:
        steps: the optimizer steps of a trial's full training.
    """

    def __init__(self, steps: Callable[[FrozenTrial], int]) -> None:
        self._rng = np.random.default_rng()
        self._steps = steps
        self._history: TrialHistory | None = None
        self._good: list[Params] = []
        self._others: list[FrozenTrial] = []
        self._bad: list[Params] = []
        self._densities: dict[str, Density] = {}

    def seeded(self, seed: int) -> TpeSampler:
        """The sampler itself, its random generator seeded anew."""
        self._rng = np.random.default_rng(seed)
        return self

    @override
    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Reads the study's trials, once for all parameters of ``trial``."""
        if self._history is None:
            self._history = TrialHistory(study.direction, self._steps)
        if self._history.update(all_trials(study)):
            good, self._others = self._history.split()
            self._good = [each.params for each in good]
            # The density of the good trials changes only when a trial ends, that of the others with each
            # suggestion.
            self._densities.clear()
        running = [each for each in self._history.running if each.number != trial.number]
        self._bad = [each.params for each in sorted(self._others + running, key=NUMBER)]

    @override
    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Of values drawn from the good trials' density, the one with the highest ratio of both densities."""
        if param_name not in self._densities:
            self._densities[param_name] = _density(self._good, param_name, param_distribution)
        good = self._densities[param_name]
        bad = _density(self._bad, param_name, param_distribution)
        drawn = good.sample(self._rng, DRAWN)
        return param_distribution.to_external_repr(drawn[np.argmax(good(drawn) / bad(drawn))].item())


def _density(trials: Sequence[Params], name: str, distribution: BaseDistribution) -> Density:
    return density(distribution, [params[name] for params in trials if name in params])
