"""The study as GP and CMA-ES see it."""

from __future__ import annotations

from collections.abc import Container

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState


class Steered(Study):
    """A diverged trial is a complete one as bad as the worst: for GP and CMA-ES.

    Diverged trials have no value, and those samplers look at complete trials alone, so they would
    suggest such settings again and again.
    """

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        trials = super()._get_trials(deepcopy, None, use_cache)
        values = [
            each.value for each in trials if each.state == TrialState.COMPLETE and each.value is not None
        ]
        if values:
            worst = max(values) if self.direction == StudyDirection.MINIMIZE else min(values)
            trials = [
                _as_bad_as(worst, each) if "diverged_at" in each.user_attrs else each for each in trials
            ]
        return [each for each in trials if states is None or each.state in states]


def _as_bad_as(value: float, trial: FrozenTrial) -> FrozenTrial:
    return FrozenTrial(
        number=trial.number,
        trial_id=trial._trial_id,
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


VIEWS: dict[str, type[Study]] = {"gp": Steered, "cmaes": Steered}
"""What a sampler is shown of the study, by its name; the study itself if it is not here."""
