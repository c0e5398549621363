"""The user attributes of studies and trials, and how they are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from optuna.storages import BaseStorage

from adamtune.storage.optuna_private import behind_cache


class StudyAttrs(TypedDict, total=False):
    """User attributes of a study.

    ``plan`` is how it is trained (``engines.plan.Plan``), ``confirmation`` the trainings on fresh seeds
    (``analysis.confirmation.Confirmation``).
    """

    study_file: str
    study: dict[str, Any]
    study_hash: str
    data_hash: str
    code_hash: str
    metric: str
    versions: dict[str, str]
    plan: dict[str, Any]
    confirmation: dict[str, Any]


class TrialAttrs(TypedDict, total=False):
    """User attributes of a trial.

    ``diverged_at`` is there for diverged trials alone, ``failure`` (the reason and the last lines of the log)
    for failed ones, ``total_steps`` where a function or command told the steps of its whole training.
    """

    settings: dict[str, Any]
    seeds: list[float]
    metrics: dict[str, float]
    steps: int
    seconds: float
    diverged_at: int
    failure: str
    total_steps: int


def write_study(storage: BaseStorage, study_id: int, attrs: StudyAttrs) -> None:
    """Keeps ``attrs`` with the study."""
    for key, value in attrs.items():
        storage.set_study_user_attr(study_id, key, value)


def write_trial(
    storage: BaseStorage, trial_id: int, attrs: TrialAttrs, flat: Mapping[str, float | str] | None = None
) -> None:
    """Keeps attributes with a trial, which must not be finished yet.

    Args:
        storage: the storage.
        trial_id: the trial.
        attrs: what reports read.
        flat: single values beside those. Optuna's dashboard shows each in a column of its own, and sorts by
            it; it shows a mapping as one text.
    """
    values = {**attrs, **(flat or {})}
    together = getattr(behind_cache(storage), "set_trial_user_attrs", None)
    if together is not None:
        together(trial_id, values)
        return
    for key, value in values.items():
        storage.set_trial_user_attr(trial_id, key, value)
