"""Trials in training: from settings to members, and from evaluations to what is kept with a trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from adamtune.catalog import NONE
from adamtune.config import StudyConfig
from adamtune.engines.base import Evaluation, Member
from adamtune.errors import UsageError
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.schedules.registry import SCHEDULES
from adamtune.storage.attributes import TrialAttrs, write_trial
from adamtune.storage.optuna_private import storage_of, trial_id
from adamtune.tasks.base import Task
from adamtune.tasks.entry import TaskEntry
from adamtune.tasks.loaded import LoadedTask, Loader
from adamtune.tasks.source import line_of, user_errors


class Tasks:
    """The tasks of a study's trials, each loaded once.

    Args:
        study: the study.

    Raises:
        UsageError: the study's task is not there, or is wrong.

    Attributes:
        entry: the study's task.
    """

    def __init__(self, study: StudyConfig) -> None:
        entry = study.task.entry
        assert isinstance(entry, TaskEntry)
        self._study, self.entry, self._loader = study, entry, Loader(study.recipe)
        self._of_trials: dict[str, LoadedTask] = {}
        self._loaded: dict[str, LoadedTask] = {}

    def of(self, settings: Mapping[str, Any]) -> LoadedTask:
        """The task of a trial with these settings; one object for equal ones of the task.

        Raises:
            UsageError: they do not go together, or as ``build``.
        """
        searched = {name: settings[name] for name in self._study.space.task if name in settings}
        key = str(searched)
        if key not in self._of_trials:
            with self._user_errors():
                own = {**self._study.task.settings, **searched}
                task = self.entry.settings.model_validate(own)
            self._of_trials[key] = self.build(task)
        return self._of_trials[key]

    def build(self, task: Task) -> LoadedTask:
        """``load`` of a task of the study's space.

        Raises:
            UsageError: as ``load``, or it has other data than those before.
        """
        loaded = self.load(task)
        self._check_data()
        return loaded

    def load(self, task: Task) -> LoadedTask:
        """The task with its data; one object for equal settings.

        Raises:
            UsageError: the task's settings do not fit its data, or its code raised.
        """
        key = task.model_dump_json()
        if key not in self._loaded:
            with self._user_errors():
                self._loaded[key] = self._loader.load(task)
        return self._loaded[key]

    def _check_data(self) -> None:
        hashes = {each.data_hash for each in self._loaded.values()}
        if len(hashes) > 1 and self.entry.settings.data_settings is None:
            used = [f"space.task.{name}" for name in self._study.space.task if name in self._loader.used]
            raise UsageError(
                f"{' or '.join(used)} changes the data, so its trials cannot be compared: move it to the"
                " task, with one value, and make a study for each"
            )

    def extremes(self) -> list[LoadedTask]:
        """The tasks at the ends of the searched settings; see ``StudyConfig.task_extremes``."""
        return [self.build(each) for each in self._study.task_extremes()]

    def steps(self, trial: FrozenTrial) -> int:
        """Optimizer steps of a trial's full training; the last one reported, of another program's trial."""
        if "settings" not in trial.user_attrs:
            return max(trial.intermediate_values, default=1)
        return self.of(trial.user_attrs["settings"]).steps

    def _user_errors(self) -> AbstractContextManager[None]:
        """Messages about the task have the line of a user's ``data``, where it is not known better."""
        own = self.entry.is_own
        return user_errors(line_of(self.entry.settings, "data") if own else f"task {self.entry.label}")


def members(study: StudyConfig, number: int, settings: Mapping[str, Any], task: Any) -> list[Member]:
    """A trial's members, one for each of its training seeds: of a ``LoadedTask`` or a ``Program``."""
    search = study.search
    return [member(number, settings, task, search.seed, replicate) for replicate in range(search.seeds)]


def member(number: int, settings: Mapping[str, Any], task: Any, seed: int, replicate: int) -> Member:
    """The training of settings with one training seed; arguments as the attributes of ``Member``."""
    optimizer, schedule = settings["optimizer"], settings["schedule"]
    clip_norm = settings.get("clip_norm", NONE)
    return Member(
        trial=number,
        replicate=replicate,
        seed=seed,
        task=task,
        optimizer=optimizer,
        hyperparameters={name: settings[name] for name in OPTIMIZERS[optimizer].defaults},
        schedule=schedule,
        schedule_hyperparameters={name: settings[name] for name in SCHEDULES[schedule].defaults},
        clip_norm=None if clip_norm == NONE else clip_norm,
    )


@dataclass
class RunningTrial:
    """A trial in training, with its members.

    Attributes:
        seconds: wall time of all its members so far.
        fraction: the part of its steps that it had taken at its last evaluation.
        total: the steps of its whole training, if an evaluation told them.
    """

    trial: Trial
    members: Sequence[Member]
    seconds: float = 0.0
    fraction: float = 0.0
    total: int | None = None

    def record(self, study: Study, metric: str, evaluations: Sequence[Evaluation]) -> TrialState | None:
        """Keeps the members' evaluations with the trial.

        Args:
            study: the study with its pruner.
            metric: the metric that is optimized.
            evaluations: of every member, at the same step; of one alone if it has diverged or failed.

        Returns:
            The state in which the trial ended; None if it continues.
        """
        self.seconds += sum(each.seconds for each in evaluations)
        failure = next((each.failure for each in evaluations if each.failure), None)
        if failure is not None:
            return self._end(study, metric, TrialState.FAIL, None, {"failure": failure})
        diverged = [each.diverged_at for each in evaluations if each.diverged_at is not None]
        if diverged:
            # Without a value: it would be that of an earlier step, which says nothing of the settings.
            at = min(diverged)
            return self._end(study, metric, TrialState.PRUNED, None, {"diverged_at": at, "steps": at})
        values = [each.metrics[metric] for each in evaluations]
        # At their ends, functions may have taken different numbers of steps.
        value, step = fmean(values), max(each.step for each in evaluations)
        total = evaluations[0].total or evaluations[0].member.task.steps
        self.fraction = min(1.0, step / total) if total else 0.0
        storage, number = storage_of(study), trial_id(self.trial)
        # Not trial.report, which warns where a process that died had reported the step.
        storage.set_trial_intermediate_value(number, step, value)
        if evaluations[0].total is not None and evaluations[0].total != self.total:
            self.total = evaluations[0].total
            write_trial(storage, number, {"total_steps": self.total})
        is_last = total is not None and step >= total
        if evaluations[0].finished:
            state = TrialState.COMPLETE
        # Not trial.should_prune, which judges by the view that the sampler was shown.
        elif not is_last and study.pruner.prune(study, storage.get_trial(number)):
            state = TrialState.PRUNED
        else:
            return None
        means = {name: fmean([each.metrics[name] for each in evaluations]) for name in evaluations[0].metrics}
        return self._end(study, metric, state, value, {"seeds": values, "metrics": means, "steps": step})

    def _end(
        self, study: Study, metric: str, state: TrialState, value: float | None, attrs: TrialAttrs
    ) -> TrialState:
        storage, number = storage_of(study), trial_id(self.trial)
        others = {name: each for name, each in attrs.get("metrics", {}).items() if name != metric}
        flat: dict[str, Any] = {f"metric.{name}": each for name, each in others.items()}
        if "diverged_at" in attrs:
            flat["outcome"] = "diverged"
        write_trial(storage, number, {**attrs, "seconds": self.seconds}, flat)
        storage.set_trial_state_values(number, state, None if value is None else [value])
        return state
