"""The sampler of a study: what suggests the settings of each trial.

Every suggestion's randomness comes from (seed, trial number): a sampler is made or seeded anew for each
trial, so that a resumed study continues as if it had never stopped, and repeats no trial.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from typing_extensions import override

from adamtune.config import StudyConfig
from adamtune.errors import AdamtuneError
from adamtune.search.notes import MODELS, STARTUP_TRIALS
from adamtune.search.samplers.combinations import Combinations
from adamtune.search.samplers.history import has_failed
from adamtune.search.samplers.points import FixedPoint, RandomPoint, SobolPoint
from adamtune.search.samplers.start import start_points
from adamtune.search.samplers.tpe import TpeSampler
from adamtune.search.suggestions import Suggestions, storable
from adamtune.storage.optuna_private import TrialsView, trial_id
from adamtune.tasks.randomness import derive


def sampler(
    config: StudyConfig, number: int, finished: int, tpe: TpeSampler, random: RandomPoint
) -> BaseSampler:
    """Makes the sampler of one trial, unless it is of a grid.

    Args:
        config: the study file.
        number: the trial's number.
        finished: how many trials have ended.
        tpe: the TPE sampler that the trials of the study share.
        random: the random sampler that they share.
    """
    name = config.search.sampler
    if not config.space.searched:
        return random  # it is never asked for a parameter
    if name == "qmc" or (name in MODELS and finished < STARTUP_TRIALS):
        return SobolPoint(list(config.space.searched), config.search.seed, number)
    seed = derive(config.search.seed, "sampler", number)
    with warnings.catch_warnings():
        # Optuna warns of GP each time that one is made, which is once a trial.
        warnings.simplefilter("ignore", ExperimentalWarning)
        match name:
            case "tpe":
                return tpe.seeded(seed)
            # Without their own startup trials: the Sobol points are those.
            case "gp":
                return GPSampler(seed=seed, n_startup_trials=0, warn_independent_sampling=False)
            case "cmaes":
                return CmaEsSampler(seed=seed, n_startup_trials=0, warn_independent_sampling=False)
    return random.seeded(seed)


class PerTrialSampler(BaseSampler):
    """Makes a sampler for each trial, and passes the questions about the trial on to it.

    In a space of finitely many combinations, no two trials get the same one.

    Args:
        config: the study file.
        steps: the optimizer steps of a trial's full training.
        finished: how many trials have ended.
    """

    def __init__(
        self, config: StudyConfig, steps: Callable[[FrozenTrial], int], finished: Callable[[], int]
    ) -> None:
        self._config, self._finished = config, finished
        # Replaced before each trial.
        self._random = RandomPoint()
        self._sampler: BaseSampler = self._random
        self._tpe = TpeSampler(steps)
        self._combinations = Combinations(config.space) if config.space.combinations else None
        self._start = start_points(config)
        self._suggestions = Suggestions(config.space)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Makes the trial's sampler."""
        number = trial.number
        if self._combinations and self._config.search.sampler == "grid":
            number = self._place_in_grid(study, number)
            self._sampler = FixedPoint(self._combinations.numbered(number))
            return
        if number < len(self._start):
            point = self._start[number]
            self._sampler = FixedPoint({name: storable(each) for name, each in point.items()})
        else:
            self._sampler = sampler(self._config, number, self._finished(), self._tpe, self._random)
        self._sampler.before_trial(study, trial)
        # A trial that another program has enqueued brings its parameters along.
        if self._combinations and "fixed_params" not in trial.system_attrs:
            drawn = partial(self._drawn, study, trial)
            self._sampler = FixedPoint(self._combinations.untried(study, trial, drawn))

    def _place_in_grid(self, study: Study, number: int) -> int:
        """The number of a trial's combination: its own, or beyond the grid that of a trial that failed."""
        while number >= (size := self._config.space.combinations or 0):
            failed = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
            number = failed[number - size].number
        return number

    def _drawn(self, study: Study, trial: FrozenTrial, attempt: int) -> dict[str, Any]:
        """The parameters that the trial's sampler draws; at later attempts than 0, random ones."""
        drawing = self._sampler
        if attempt:
            seed = derive(self._config.search.seed, "redraw", trial.number, attempt - 1)
            drawing = RandomPoint().seeded(seed)
        return Draw(drawing, study, trial).params(self._suggestions)

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


class Draw:
    """The parameters that a sampler gives a trial, before they are kept with it."""

    def __init__(self, sampler: BaseSampler, study: Study, trial: FrozenTrial) -> None:
        self._sampler, self._study, self._trial = sampler, study, trial
        space = sampler.infer_relative_search_space(study, trial)
        self._relative = sampler.sample_relative(study, trial, space)
        self._params: dict[str, Any] = {}

    def params(self, suggestions: Suggestions) -> dict[str, Any]:
        """The parameters, by name."""
        suggestions.settings(self._ask)
        return self._params

    def _ask(self, name: str, distribution: BaseDistribution) -> Any:
        """The value of one parameter."""
        if name in self._relative:
            self._params[name] = self._relative[name]
        else:
            self._params[name] = self._sampler.sample_independent(
                self._study, self._trial, name, distribution
            )
        return self._params[name]


class PenalizedStudy(TrialsView):
    """A study in which a trial that diverged or failed is a complete one as bad as the worst.

    Such trials have no value, and GP and CMA-ES look at complete trials alone, so they would suggest such
    settings again and again.
    """

    @override
    def view(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        values = [
            each.value for each in trials if each.state == TrialState.COMPLETE and each.value is not None
        ]
        # With diverged trials alone there is no worst value to stand for them.
        if not values:
            return trials
        worst = max(values) if self.direction == StudyDirection.MINIMIZE else min(values)
        bad = (each for each in trials if "diverged_at" in each.user_attrs or has_failed(each))
        numbers = {each.number for each in bad}
        return [_as_bad_as(worst, each) if each.number in numbers else each for each in trials]


def _as_bad_as(value: float, trial: FrozenTrial) -> FrozenTrial:
    return FrozenTrial(
        number=trial.number,
        trial_id=trial_id(trial),
        state=TrialState.COMPLETE,
        value=value,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs=trial.user_attrs,
        system_attrs=trial.system_attrs,
        intermediate_values=trial.intermediate_values,
    )


VIEWS: Mapping[str, type[TrialsView]] = {"gp": PenalizedStudy, "cmaes": PenalizedStudy}
"""The study as a sampler sees it, by the sampler's name; the study itself for other samplers."""

EXTRAS: Mapping[str, tuple[str, ...]] = {"cmaes": ("cmaes",), "gp": ("greenlet",)}
"""The packages that one sampler alone needs; its name is also that of the extra that installs them."""


def check_packages(sampler: str) -> None:
    """Checks that the packages of a sampler are installed.

    Raises:
        AdamtuneError: one is missing.
    """
    missing = [name for name in EXTRAS.get(sampler, ()) if find_spec(name) is None]
    if missing:
        raise AdamtuneError(
            f"sampler: {sampler} needs {' and '.join(missing)}, not installed here. Run"
            f" `pip install 'adamtune[{sampler}]'`, then try again, or use sampler: tpe."
        )
