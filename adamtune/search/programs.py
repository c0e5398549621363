"""The functions and commands of a study's trials, and how long their trainings are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from adamtune.config import StudyConfig
from adamtune.tasks.program import Program, ProgramEntry


class Programs:
    """The programs of a study's trials: what ``Tasks`` is for tasks.

    The steps of a training are known once a function asks for its optimizer, or by the setting ``steps``.
    Where they are not, a training counts as long as that of the first trial that is complete.

    Args:
        study: the study file.
        entry: the study's function or command.
        stored: the study as it is stored.
    """

    def __init__(self, study: StudyConfig, entry: ProgramEntry, stored: Study) -> None:
        self.entry, self._study, self._stored = entry, study, stored
        self._common: int | None = None

    def of(self, settings: Mapping[str, Any]) -> Program:
        """The program of a trial with these settings."""
        searched = {name: settings[name] for name in self._study.space.task}
        return self.entry.program({**self._study.task.settings, **searched})

    def length(self, trial: FrozenTrial) -> int | None:
        """The steps of a trial's full training; None where they are not known yet."""
        total: int | None = trial.user_attrs.get("total_steps")
        return total or self._common_length()

    def steps(self, trial: FrozenTrial) -> int:
        """The steps of a trial's full training, or its last step where they are not known yet."""
        return self.length(trial) or max(trial.intermediate_values, default=1)

    def _common_length(self) -> int | None:
        if self._common is None:
            complete = self._stored.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            reported = [each for each in complete if each.intermediate_values]
            first = min(reported, key=lambda each: each.number, default=None)
            self._common = max(first.intermediate_values) if first else None
        return self._common
