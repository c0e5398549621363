"""Studies and trials as plain values: as they are stored, and as reports read them; imports no Optuna."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from adamtune.errors import UsageError
from adamtune.storage.location import without_password

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, TrialState

State = Literal["complete", "pruned", "diverged", "failed", "running"]

STATES: Mapping[str, State] = {
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "FAIL": "failed",
    "RUNNING": "running",
}
"""adamtune's names of Optuna's states; a trial that is not in one of them was not begun."""


@dataclass(frozen=True)
class StoredStudy:
    """A study as a storage has it.

    Attributes:
        directions: ``MINIMIZE``, ``MAXIMIZE`` or ``NOT_SET`` for each objective.
        in_use: as in ``StudyRecord``.
    """

    study_id: int
    name: str
    directions: Sequence[str]
    user_attrs: dict[str, Any]
    system_attrs: dict[str, Any]
    in_use: bool = True


@dataclass
class StoredTrial:
    """A trial as it is read from a local file. Names of Optuna's ``FrozenTrial`` have the same meaning here.

    Attributes:
        state: Optuna's name of it.
        start, complete: naive UTC.
        internal_params: each name's value as Optuna stores it, and the JSON of its distribution.
    """

    trial_id: int
    number: int
    state: str
    start: datetime | None
    complete: datetime | None
    internal_params: dict[str, tuple[float, str]] = field(default_factory=dict)
    values: list[float] = field(default_factory=list)
    intermediate_values: dict[int, float] = field(default_factory=dict)
    user_attrs: dict[str, Any] = field(default_factory=dict)
    system_attrs: dict[str, Any] = field(default_factory=dict)

    @property
    def params(self) -> dict[str, Any]:
        """The searched parameters as people write them."""
        return {name: _external(value, text) for name, (value, text) in self.internal_params.items()}

    @property
    def duration(self) -> timedelta | None:
        """The time from the beginning to the end; None for a trial that is not finished."""
        return self.complete - self.start if self.start and self.complete else None


def _external(value: float, distribution: str) -> Any:
    """A parameter as people write it, from Optuna's internal value."""
    kind, choices = _distribution(distribution)
    if choices is not None:
        return choices[int(value)]
    return int(value) if kind.startswith("Int") else value


# The trials of a study repeat few distributions: each text is parsed once.
@lru_cache(maxsize=4096)
def _distribution(text: str) -> tuple[str, list[Any] | None]:
    parsed = json.loads(text)
    return parsed["name"], parsed["attributes"].get("choices")


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
        failure: why a trial failed, and the last lines of its log.
        total_steps: the steps of its whole training, where a function or command told them.
        begun, ended: naive UTC; None where it has not ended, or where its program did not say.
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
    failure: str | None = None
    total_steps: int | None = None
    begun: datetime | None = field(default=None, compare=False)
    ended: datetime | None = field(default=None, compare=False)

    @property
    def final_value(self) -> float:
        """The value of a complete trial, which always has one."""
        assert self.value is not None
        return self.value

    def merit(self, direction: str) -> tuple[float, int]:
        """What complete trials are ranked by, the best first: the value, then the number."""
        # The number makes the order of equal values the same in every report.
        return self.final_value if direction == "minimize" else -self.final_value, self.number


@dataclass(frozen=True)
class StudyRecord:
    """A study and its trials by number. What only adamtune stores is None in a study of another program.

    Attributes:
        in_use: whether a process trains it; True on a server, which cannot tell.
        code_hash: SHA-256 (hex) of the user's code; None for a reference task or a command.
        confirmation: the trainings on fresh seeds (``analysis.confirmation.Confirmation``).
    """

    name: str
    metric: str
    direction: str
    study_file: str | None
    study: Mapping[str, Any] | None
    study_hash: str | None
    data_hash: str | None
    versions: Mapping[str, str]
    trials: Sequence[TrialRecord]
    in_use: bool = True
    confirmation: Mapping[str, Any] | None = None
    code_hash: str | None = None


@dataclass(frozen=True)
class StudySummary:
    """A study in a list.

    Attributes:
        in_use: as in ``StudyRecord``.
        counts: the number of trials in each state.
        best: the best finite value of a complete trial.
        last_activity: when a trial last began or ended, naive local time.
    """

    name: str
    metric: str
    direction: str
    in_use: bool
    counts: Mapping[State, int]
    best: float | None
    last_activity: datetime | None


def study_record(study: StoredStudy, trials: Iterable[StoredTrial | FrozenTrial]) -> StudyRecord:
    """A study's record, with those of ``trials`` that were begun.

    Raises:
        UsageError: the study has several objectives.
    """
    if len(study.directions) != 1:
        raise UsageError(
            f"study {study.name} has {len(study.directions)} objectives; adamtune reports studies with one."
            " The Optuna dashboard shows it."
        )
    attrs = study.user_attrs
    return StudyRecord(
        name=study.name,
        metric=attrs.get("metric", "value"),
        direction=study.directions[0].lower(),
        in_use=study.in_use,
        study_file=attrs.get("study_file"),
        study=attrs.get("study"),
        study_hash=attrs.get("study_hash"),
        data_hash=attrs.get("data_hash"),
        code_hash=attrs.get("code_hash"),
        versions=attrs.get("versions", {}),
        confirmation=attrs.get("confirmation"),
        trials=[record_of(each) for each in trials if _name(each.state) in STATES],
    )


def record_of(trial: StoredTrial | FrozenTrial) -> TrialRecord:
    """A trial's record. That of another program's trial has only what Optuna stores with every trial."""
    attrs, intermediate = trial.user_attrs, trial.intermediate_values
    begun, ended = _times(trial)
    value = trial.values[0] if trial.values else None
    return TrialRecord(
        number=trial.number,
        state=state_of(_name(trial.state), "diverged_at" in attrs),
        value=value,
        seeds=attrs.get("seeds", [] if value is None else [value]),
        # Another program's trial has no settings: what it searched is shown instead.
        settings=attrs.get("settings", trial.params),
        metrics=attrs.get("metrics", {}),
        intermediate=dict(sorted(intermediate.items())),  # on a server, a row that changed comes last
        steps=attrs.get("steps", max(intermediate, default=0)),
        seconds=attrs.get("seconds", trial.duration.total_seconds() if trial.duration else 0.0),
        diverged_at=attrs.get("diverged_at"),
        params=trial.params,
        failure=attrs.get("failure"),
        total_steps=attrs.get("total_steps"),
        begun=begun,
        ended=ended,
    )


def _times(trial: StoredTrial | FrozenTrial) -> tuple[datetime | None, datetime | None]:
    """When a trial began and ended, naive UTC."""
    if isinstance(trial, StoredTrial):
        return trial.start, trial.complete
    times = trial.datetime_start, trial.datetime_complete  # naive local time
    begun, ended = (each and each.astimezone(UTC).replace(tzinfo=None) for each in times)
    return begun, ended


def _name(state: str | TrialState) -> str:
    return state if isinstance(state, str) else state.name


def state_of(state: str, diverged: bool) -> State:
    """adamtune's name for a state of Optuna's."""
    return "diverged" if diverged and state == "PRUNED" else STATES[state]


def counted(states: Mapping[State, int]) -> dict[State, int]:
    """How many trials are in each state, states without one included."""
    # This is the order in which reports show them.
    names: tuple[State, ...] = ("complete", "pruned", "diverged", "failed", "running")
    return {name: states.get(name, 0) for name in names}


def shown_state(state: State, in_use: bool) -> str:
    """A state as people read it: where no process trains the study, no trial is running."""
    return "unfinished" if state == "running" and not in_use else state


def no_study(location: str, name: str, names: Iterable[str]) -> UsageError:
    """The error for a study that is not among ``names``."""
    known = list(names)
    # A misspelt name is the usual cause; ten names are enough to find the right one.
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    listed = ", ".join(known[:10]) + (", ..." if len(known) > 10 else "")
    return UsageError(
        f"{without_password(location)}: there is no study {name}.{hint} Studies there: {listed or 'none'}."
    )
