"""Trials in training: from settings to members, and from evaluations to what is kept with a trial."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from adamtune.catalog import NONE
from adamtune.config import Choice, Distribution, Fixed, Range, Space, StudyConfig, Value, as_trained
from adamtune.engines.base import Evaluation, Member
from adamtune.errors import UsageError
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.schedules.registry import SCHEDULES
from adamtune.storage.attributes import TrialAttrs, write_flat, write_trial
from adamtune.storage.optuna_private import ask_parameter, storage_of, trial_id
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
        self._settings: dict[str, Task] = {}
        self._loaded: dict[str, LoadedTask] = {}

    def settings(self, settings: Mapping[str, Any]) -> Task:
        """The task with its settings among the settings of a trial.

        Raises:
            UsageError: they do not go together.
        """
        searched = {name: settings[name] for name in self._study.space.task if name in settings}
        key = str(searched)
        if key not in self._settings:
            with self._user_errors():
                own = {**self._study.task.settings, **searched}
                self._settings[key] = self.entry.settings.model_validate(own)
        return self._settings[key]

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
        return self.build(self.settings(trial.user_attrs["settings"])).steps

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
        # Not trial.report, which warns where a process that died had reported the step.
        storage_of(study).set_trial_intermediate_value(trial_id(self.trial), step, value)
        means = {name: fmean(each.metrics[name] for each in evaluations) for name in evaluations[0].metrics}
        attrs: TrialAttrs = {"seeds": values, "metrics": means, "steps": step}
        if evaluations[0].total is not None and evaluations[0].total != self.total:
            self.total = evaluations[0].total
            write_trial(storage_of(study), trial_id(self.trial), {"total_steps": self.total})
        if evaluations[0].finished:
            return self._end(study, metric, TrialState.COMPLETE, value, attrs)
        # Not trial.should_prune, which judges by the view that the sampler was shown.
        is_last = total is not None and step >= total
        if not is_last and study.pruner.prune(study, storage_of(study).get_trial(trial_id(self.trial))):
            return self._end(study, metric, TrialState.PRUNED, value, attrs)
        return None

    def _end(
        self, study: Study, metric: str, state: TrialState, value: float | None, attrs: TrialAttrs
    ) -> TrialState:
        storage, number = storage_of(study), trial_id(self.trial)
        write_trial(storage, number, {**attrs, "seconds": self.seconds})
        flat = {f"metric.{name}": each for name, each in attrs.get("metrics", {}).items() if name != metric}
        write_flat(storage, number, {"outcome": "diverged"} if "diverged_at" in attrs else flat)
        storage.set_trial_state_values(number, state, None if value is None else [value])
        return state


Ask = Callable[[str, BaseDistribution], Any]
"""Asks for the value of a parameter by its name."""


def suggest(trial: Trial, space: Space) -> dict[str, Any]:
    """``ask_settings`` of a trial's sampler."""
    return ask_settings(partial(ask_parameter, trial), space)


def ask_settings(ask: Ask, space: Space) -> dict[str, Any]:
    """The settings of a trial: asks for the parameters of the chosen optimizer and schedule, and no others.

    Returns:
        ``optimizer`` and its hyperparameters, ``schedule`` and its, those of the training that are not at
        their defaults, then the searched task settings; all by catalog name, JSON-safe.
    """
    optimizer = _value(ask, "optimizer", space.optimizer)
    settings = {"optimizer": optimizer} | _trained(ask, space.optimizers[optimizer])
    schedule = _value(ask, "schedule", space.schedule)
    settings |= {"schedule": schedule} | _trained(ask, space.schedules[schedule])
    others = {**space.training, **space.task}
    return settings | {name: _value(ask, name, each) for name, each in others.items()}


def optuna_distribution(distribution: Choice | Range) -> BaseDistribution:
    """The distribution as Optuna's."""
    if isinstance(distribution, Choice):
        return CategoricalDistribution([storable(value) for value in distribution.values])
    kind = IntDistribution if distribution.integer else FloatDistribution
    return kind(distribution.low, distribution.high, log=distribution.log)  # type: ignore[arg-type]


def grid(space: Space) -> Iterator[dict[str, Any]]:
    """Every combination of a space without real numbers, as Optuna's parameters without the fixed ones."""
    for optimizer, its in space.optimizers.items():
        for schedule, its_own in space.schedules.items():
            named = {"optimizer": space.optimizer, "schedule": space.schedule}
            chosen = {"optimizer": optimizer, "schedule": schedule}
            head = {name: chosen[name] for name, each in named.items() if isinstance(each, Choice)}
            yield from _combinations(head, {**its, **its_own, **space.training, **space.task})


def _combinations(head: dict[str, Any], rest: Mapping[str, Distribution]) -> Iterator[dict[str, Any]]:
    searched = {name: each for name, each in rest.items() if not isinstance(each, Fixed)}
    if not searched:
        yield head
        return
    name, first = next(iter(searched.items()))
    others = {other: each for other, each in searched.items() if other != name}
    for value in first.countable or ():
        yield from _combinations(head | {name: storable(value)}, others)


def _trained(ask: Ask, hyperparameters: Mapping[str, Distribution]) -> dict[str, Any]:
    return dict(as_trained(name, _value(ask, name, each)) for name, each in hyperparameters.items())


def _value(ask: Ask, name: str, distribution: Distribution) -> Any:
    if isinstance(distribution, Fixed):
        return distribution.value
    found = ask(name, optuna_distribution(distribution))
    if isinstance(distribution, Choice):
        return {storable(value): value for value in distribution.values}[found]
    return found


def storable(value: Value) -> bool | int | float | str | None:
    """Optuna's categories are scalars: a list, such as a task's ``hidden``, is kept as its JSON."""
    return json.dumps(value) if isinstance(value, tuple | dict) else value
