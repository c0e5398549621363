"""The first trials of a study: the default, and known good settings. Free of torch and Optuna."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from adamtune.catalog import ONE_MINUS, TRAINING
from adamtune.config import Fixed, StudyConfig
from adamtune.config.baseline import default_settings, nearest

# The four points differ widely, and each is good for some kinds of models.
PRIORS: tuple[Mapping[str, Any], ...] = (
    {"lr": 1.308e-3, "beta1": 1 - 0.02687, "beta2": 0.99812, "weight_decay": 0.1638, "warmup_fraction": 0.10},
    {"lr": 8.445e-4, "beta1": 1 - 0.1104, "beta2": 0.99785, "weight_decay": 0.08135, "warmup_fraction": 0.05},
    {"lr": 4.958e-3, "beta1": 1 - 0.1363, "beta2": 0.62919, "weight_decay": 0.1147, "warmup_fraction": 0.02},
    {
        "lr": 1.749e-3,
        "beta1": 1 - 0.06734,
        "beta2": 0.99552,
        "weight_decay": 0.08122,
        "warmup_fraction": 0.02,
    },
)
"""What AlgoPerf ships for NAdamW, with a cosine schedule (Dahl et al. 2023, arXiv 2306.07179)."""


def start_points(study: StudyConfig) -> list[dict[str, Any]]:
    """The searched values of the first trials, by the names of the study file.

    A point that does not lie in the space is left out. What a point does not name is at its default.

    Args:
        study: the study.
    """
    search, space = study.search, study.space
    if search.start == "none" or search.sampler == "grid" or not space.searched:
        return []
    points = [_point(study, {}, "constant")]
    if search.start == "priors":
        points += [_point(study, each, "cosine") for each in PRIORS]
    found = [each for each in points if each is not None]
    return [each for place, each in enumerate(found) if each not in found[:place]]


def _point(study: StudyConfig, known: Mapping[str, Any], schedule: str) -> dict[str, Any] | None:
    """The searched values of a point; None if it does not lie in the space.

    Args:
        study: the study.
        known: values by the names of trained settings; those that are not searched do not matter.
        schedule: the schedule, where several are searched and it is among them.
    """
    space = study.space
    optimizer = study.optimizers[0]
    schedule = schedule if schedule in space.schedules else next(iter(space.schedules))
    fields = study.task.entry.fields
    task = {name: fields[name].default for name in space.task if name in fields}
    settings = {**default_settings(optimizer, schedule), **TRAINING.defaults, **task, **known}
    names = {"optimizer": optimizer, "schedule": schedule}
    values: dict[str, Any] = {name: each for name, each in names.items() if name in space.searched}
    for name, distribution in _searched(study, optimizer, schedule):
        wanted = settings.get(name.removeprefix(ONE_MINUS))
        if name.startswith(ONE_MINUS) and wanted is not None:
            wanted = 1 - wanted
        values[name] = nearest(distribution, wanted)
        if values[name] is None:
            return None
    return values


def _searched(study: StudyConfig, optimizer: str, schedule: str) -> Iterator[tuple[str, Any]]:
    """The searched hyperparameters of an optimizer and a schedule, and the searched settings of the task."""
    space = study.space
    for own in (space.optimizers[optimizer], space.schedules[schedule], space.training, space.task):
        yield from ((name, each) for name, each in own.items() if not isinstance(each, Fixed))
