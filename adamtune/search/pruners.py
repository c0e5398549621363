"""Pruners: what stops trials that look hopeless, and the study as a pruner sees it."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from copy import copy
from typing import Any, cast

from optuna.pruners import BasePruner, NopPruner
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from adamtune.config import StudyConfig
from adamtune.search.programs import Programs
from adamtune.search.pruner_rules import HalvingPruner, MedianPruner, hyperband
from adamtune.search.trial import Tasks
from adamtune.storage.optuna_private import RUNG, storage_of, trials_in
from adamtune.tasks.base import evaluation_interval

REDUCTION = 3
"""Of the trials that reach a rung, one in so many goes on (Li et al. 2018 recommend 3 or 4)."""
TENTHS = 10
"""The parts of a training in which trainings of different lengths are compared."""
OF_TENTHS = ":tenths"
"""What the names of a trial's attributes for rungs at tenths of the training end with, since a study of an
older version may have rungs at optimizer steps."""


def pruner(name: str, steps: int) -> BasePruner:
    """The pruner of a study file's name, for trainings of ``steps`` steps.

    Rungs are at the first evaluation and at 3, 9, ... times its step. The median spares the first evaluation.
    """
    first = evaluation_interval(steps)
    match name:
        case "none":
            return NopPruner()
        case "median":
            # A high learning rate often starts worse and ends better. Five trials are Optuna's default.
            return MedianPruner(startup=5, warmup=first + 1)
        case "asha":
            return HalvingPruner(first, REDUCTION)
        case "hyperband":
            return hyperband(first, steps, REDUCTION)
    raise ValueError(f"no pruner is named {name}")


def pruning_study(config: StudyConfig, study: Study, tasks: Tasks | Programs) -> Study:
    """The study with its pruner, which compares trials by the part of their training that is done.

    Args:
        config: the study file.
        study: the study as it is stored, with intermediate values at optimizer steps.
        tasks: the study's tasks.
    """
    # Trainings differ in length where the task's epochs or batch size is searched.
    storage, length = storage_of(study), TENTHS
    lengths = [] if isinstance(tasks, Programs) else list({each.steps for each in tasks.extremes()})
    if len(lengths) == 1:
        length = lengths[0]
    elif config.search.pruner != "none":
        steps = tasks.length if isinstance(tasks, Programs) else tasks.steps
        storage = cast(BaseStorage, TenthsStorage(storage, steps))
    return Study(study.study_name, storage, pruner=pruner(config.search.pruner, length))


class TenthsStorage:
    """A storage whose intermediate values are at tenths of a full training instead of at optimizer steps.

    Everything else is the storage's own.

    Args:
        storage: the storage.
        steps: the optimizer steps of a trial's full training; None where they are not known, and the trial
            cannot be compared.
    """

    def __init__(self, storage: BaseStorage, steps: Callable[[FrozenTrial], int | None]) -> None:
        self._storage, self._steps = storage, steps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """The trial."""
        return self._in_tenths(self._storage.get_trial(trial_id))

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """The trials by number; they are copies."""
        trials = self._storage.get_all_trials(study_id, deepcopy=False, states=states)
        return [self._in_tenths(each) for each in trials]

    def trials(self, study_id: int) -> Sequence[FrozenTrial]:
        """The trials by number; each is copied when it is asked for."""
        return TenthsTrials(trials_in(self._storage, study_id), self._in_tenths)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Keeps a pruner's attribute of a trial."""
        self._storage.set_trial_system_attr(trial_id, key + OF_TENTHS, value)

    def _in_tenths(self, trial: FrozenTrial) -> FrozenTrial:
        total, shown = self._steps(trial), copy(trial)
        # Of several values in a tenth the first one is compared, which is that of the most alike steps.
        values = sorted(trial.intermediate_values.items(), reverse=True) if total else ()
        shown.intermediate_values = {TENTHS * step // (total or 1): value for step, value in values}
        shown.system_attrs = {
            key.removesuffix(OF_TENTHS): value
            for key, value in trial.system_attrs.items()
            if key.endswith(OF_TENTHS) or not key.startswith(RUNG)
        }
        return shown


class TenthsTrials(Sequence[FrozenTrial]):
    """Trials, each of which is shown in tenths when it is asked for."""

    def __init__(self, trials: Sequence[FrozenTrial], shown: Callable[[FrozenTrial], FrozenTrial]) -> None:
        self._trials, self._shown = trials, shown

    def __len__(self) -> int:
        return len(self._trials)

    def __getitem__(self, place: Any) -> Any:
        return self._shown(self._trials[place])
