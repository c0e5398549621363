"""What is kept with a study and with a trial, as plain values; free of torch and Optuna."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from adamtune.errors import UsageError
from adamtune.storage.location import without_password

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

State = Literal["complete", "pruned", "diverged", "failed", "running"]

STATES: Mapping[str, State] = {
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "FAIL": "failed",
    "RUNNING": "running",
}
"""Optuna's states of trials that were begun, and adamtune's names of them."""


class StudyAttrs(TypedDict, total=False):
    """User attributes of a study. ``plan`` is how it is trained (``engines.choose.Plan``)."""

    study_file: str
    study: dict[str, Any]
    study_hash: str
    data_hash: str
    metric: str
    versions: dict[str, str]
    plan: dict[str, Any]


class TrialAttrs(TypedDict, total=False):
    """User attributes of a trial. ``diverged_at`` is there for diverged trials alone."""

    settings: dict[str, Any]
    seeds: list[float]
    metrics: dict[str, float]
    steps: int
    seconds: float
    diverged_at: int


def write_study(storage: BaseStorage, study_id: int, attrs: StudyAttrs) -> None:
    """Keeps ``attrs`` with the study."""
    for key, value in attrs.items():
        storage.set_study_user_attr(study_id, key, value)


def write_trial(storage: BaseStorage, trial_id: int, attrs: TrialAttrs) -> None:
    """Keeps ``attrs`` with the trial, which must not be finished yet."""
    for key, value in attrs.items():
        storage.set_trial_user_attr(trial_id, key, value)


@dataclass(frozen=True)
class TrialRecord:
    """A trial that was begun.

    Attributes:
        value: the objective at the last step; None unless complete (or pruned after a report).
        seeds: the objective of each replicate at its last evaluation.
        settings: everything it was trained with, by catalog name.
        metrics: every metric at the last evaluation.
        intermediate: the objective by optimizer step; may hold NaN and infinity.
        steps: optimizer steps of one replicate.
        seconds: wall time of all replicates.
        params: the searched hyperparameters, as searched.
    """

    number: int
    state: State
    value: float | None
    seeds: Sequence[float]
    settings: Mapping[str, Any]
    metrics: Mapping[str, float]
    intermediate: Mapping[int, float]
    steps: int
    seconds: float
    diverged_at: int | None
    params: Mapping[str, Any]

    @property
    def final_value(self) -> float:
        """The value of a complete trial, which always has one."""
        assert self.value is not None
        return self.value

    def merit(self, direction: str) -> tuple[float, int]:
        """What complete trials are ranked by, the best first: the value, then the number."""
        return self.final_value if direction == "minimize" else -self.final_value, self.number


@dataclass(frozen=True)
class StudyRecord:
    """A study and its trials by number. What a study that adamtune did not make lacks is None."""

    name: str
    metric: str
    direction: str
    study_file: str | None
    study: Mapping[str, Any] | None
    study_hash: str | None
    data_hash: str | None
    versions: Mapping[str, str]
    trials: Sequence[TrialRecord]


@dataclass(frozen=True)
class StudySummary:
    """A study in a list. ``counts`` has every state; ``best`` is the best finite value of a complete one."""

    name: str
    metric: str
    direction: str
    counts: Mapping[State, int]
    best: float | None
    last_activity: datetime | None


def study_record(
    name: str, direction: str, attrs: Mapping[str, Any], trials: Sequence[TrialRecord]
) -> StudyRecord:
    """A study's record, from its user attributes."""
    return StudyRecord(
        name=name,
        metric=attrs.get("metric", "value"),
        direction=direction,
        study_file=attrs.get("study_file"),
        study=attrs.get("study"),
        study_hash=attrs.get("study_hash"),
        data_hash=attrs.get("data_hash"),
        versions=attrs.get("versions", {}),
        trials=trials,
    )


def trial_record(
    number: int,
    state: str,
    value: float | None,
    params: Mapping[str, Any],
    intermediate: Mapping[int, float],
    attrs: Mapping[str, Any],
    start: datetime | None,
    complete: datetime | None,
) -> TrialRecord:
    """A trial's record. A trial that adamtune did not make has what Optuna keeps of any trial.

    Args:
        state: Optuna's name of it.
        intermediate: the objective by optimizer step.
        attrs: the trial's user attributes.
        start, complete: of one time zone.
    """
    return TrialRecord(
        number=number,
        state=state_of(state, "diverged_at" in attrs),
        value=value,
        seeds=attrs.get("seeds", [] if value is None else [value]),
        settings=attrs.get("settings", params),
        metrics=attrs.get("metrics", {}),
        intermediate=dict(sorted(intermediate.items())),  # on a server, a row that changed comes last
        steps=attrs.get("steps", max(intermediate, default=0)),
        seconds=attrs.get("seconds", (complete - start).total_seconds() if start and complete else 0.0),
        diverged_at=attrs.get("diverged_at"),
        params=params,
    )


def record_of(trial: FrozenTrial) -> TrialRecord:
    """The record of a trial as Optuna has it."""
    return trial_record(
        number=trial.number,
        state=trial.state.name,
        value=trial.values[0] if trial.values else None,
        params=trial.params,
        intermediate=trial.intermediate_values,
        attrs=trial.user_attrs,
        start=trial.datetime_start,
        complete=trial.datetime_complete,
    )


def state_of(state: str, diverged: bool) -> State:
    """adamtune's name for a state of Optuna's."""
    return "diverged" if diverged and state == "PRUNED" else STATES[state]


def counted(states: Mapping[State, int]) -> dict[State, int]:
    """How many trials are in each state, states without one included."""
    names: tuple[State, ...] = ("complete", "pruned", "diverged", "failed", "running")
    return {name: states.get(name, 0) for name in names}


def one_direction(directions: Sequence[str], name: str) -> str:
    """``minimize`` or ``maximize``. Raises UsageError for a study with several objectives."""
    if len(directions) != 1:
        raise UsageError(
            f"study {name} has {len(directions)} objectives; adamtune reports studies with one."
            " The Optuna dashboard shows it."
        )
    return directions[0].lower()


def no_study(location: str, name: str, names: Iterable[str]) -> UsageError:
    """The error for a study that is not among ``names``."""
    known = list(names)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    listed = ", ".join(known[:10]) + (", ..." if len(known) > 10 else "")
    return UsageError(
        f"{without_password(location)}: there is no study {name}.{hint} Studies there: {listed or 'none'}."
    )
