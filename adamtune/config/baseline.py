"""The baseline of a study: the settings that its best trial is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from math import isclose
from typing import Any, Literal

from adamtune.catalog import TRAINING, as_trained
from adamtune.config.aliases import illegal_value
from adamtune.config.problems import KeyPath, Problems
from adamtune.config.space import Choice, Distribution, Fixed, Range, Space, Value
from adamtune.config.space_section import read_space
from adamtune.config.study import StudyConfig
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.schedules.registry import SCHEDULES

NAMES = ("default", "lr_only")


def read_baseline(
    raw: object, problems: Problems
) -> Literal["default", "lr_only"] | Mapping[str, Value] | None:
    """The file's ``baseline``: a name, or the settings by hand; None after problems are recorded."""
    if isinstance(raw, str) and raw in NAMES:
        return raw  # type: ignore[return-value]
    if not isinstance(raw, dict):
        allowed = f"{', '.join(NAMES)}, or a mapping of optimizer, its hyperparameters and schedule"
        problems.add(("baseline",), illegal_value(raw, allowed, NAMES))
        return None
    rest = dict(raw)
    if "task" in rest:
        problems.add(("baseline", "task"), "the baseline has the settings of the task; remove this")
        del rest["task"]
    return read_settings(rest, "baseline", problems)


def read_settings(raw: Mapping[str, Any], key: str, problems: Problems) -> dict[str, Value] | None:
    """Settings by hand as they are trained; None after problems are recorded.

    Args:
        raw: optimizer, its hyperparameters and schedule, in the notation of study files.
        key: where the file has them.
        problems: receives the problems found.
    """
    rest = {name: each for name, each in raw.items() if name != "optimizer"}
    moved = _Moved(problems, key)
    space = read_space(raw.get("optimizer", "adamw"), rest, {}, moved)
    for _, path, each in space.distributions():
        if not isinstance(each, Fixed):
            moved.add(path, illegal_value(each.file_value(), "one value: nothing is searched here"))
            return None
    for name, each in (("optimizer", space.optimizer), ("schedule", space.schedule)):
        if not isinstance(each, Fixed):
            if not moved.found:  # or the name is unknown, and all were read
                moved.add((name,), illegal_value(each.file_value(), "one name"))
            return None
    return fixed_settings(space)


class _Moved(Problems):
    """Records problems of a space as problems of another key."""

    def __init__(self, problems: Problems, key: str) -> None:
        super().__init__(problems.source)
        self._problems, self._key, self.found = problems, key, False

    def add(self, path: KeyPath, message: str, *more: Any, **named: Any) -> None:
        """Records a problem, once."""
        self.found = True
        own = path[1:] if path[:1] == ("space",) else path
        self._problems.add((self._key, *own), message, *more, **named)


def fixed_settings(space: Space) -> dict[str, Value]:
    """The settings of a space in which nothing is searched, by the names that they are trained with."""
    settings: dict[str, Value] = {}
    for key, own in (("optimizer", space.optimizers), ("schedule", space.schedules)):
        for name, hyperparameters in own.items():
            settings[key] = name
            for each, distribution in hyperparameters.items():
                assert isinstance(distribution, Fixed)
                trained, value = as_trained(each, distribution.value)
                settings[trained] = value
    settings |= {name: each.value for name, each in space.training.items() if isinstance(each, Fixed)}
    return settings


def default_settings(optimizer: str, schedule: str = "constant") -> dict[str, Value]:
    """The settings of an optimizer and a schedule with every hyperparameter at its default."""
    return {
        "optimizer": optimizer,
        **OPTIMIZERS[optimizer].defaults,
        "schedule": schedule,
        **SCHEDULES[schedule].defaults,
    }


def baseline_settings(study: StudyConfig, winner: Mapping[str, Value]) -> dict[str, Value]:
    """The settings of the baseline, those of the task included.

    Args:
        study: the study.
        winner: the settings of the trial that the baseline is compared with. They give a searched setting of
            the task whose default no trial may have.
    """
    if isinstance(study.baseline, str):
        settings = default_settings(study.optimizers[0])
    else:
        settings = dict(study.baseline)
    fields = study.task.entry.fields
    for name, distribution in study.space.task.items():
        default = fields[name].default if name in fields else None
        value = nearest(distribution, default)
        settings[name] = winner[name] if value is None else value
    return settings


def put_back(winner: Mapping[str, Value], baseline: Mapping[str, Value]) -> dict[str, dict[str, Value]]:
    """The settings of a trial with each one that differs from the baseline put back, by its name.

    The hyperparameters that only one of two optimizers or schedules has go with it.

    Args:
        winner, baseline: everything that the trial and the baseline are trained with.
    """
    found: dict[str, dict[str, Value]] = {}
    for choice, catalog in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
        before, after = catalog[str(winner[choice])].defaults, catalog[str(baseline[choice])].defaults
        if winner[choice] != baseline[choice]:
            kept = {name: each for name, each in winner.items() if name not in before or name in after}
            found[choice] = {**after, **kept, choice: baseline[choice]}
        for name, default in before.items():
            if not _same(winner[name], baseline.get(name, default)):
                found[name] = {**winner, name: baseline.get(name, default)}
    others = {**TRAINING.defaults, **baseline}
    rest = [name for name in winner if name not in found and name not in default_names(winner)]
    found |= {
        name: {**winner, name: others[name]}
        for name in rest
        if name in others and winner[name] != others[name]
    }
    return found


def default_names(settings: Mapping[str, Value]) -> set[str]:
    """The names of the choices and hyperparameters of optimizer and schedule."""
    return set(default_settings(str(settings["optimizer"]), str(settings["schedule"])))


def nearest(distribution: Distribution, value: Any) -> Any:
    """The value of a distribution that is ``value`` but for rounding; None if it has none."""
    if isinstance(distribution, Range):
        inside = isinstance(value, int | float) and distribution.low <= value <= distribution.high
        return value if inside else None
    values = distribution.values if isinstance(distribution, Choice) else (distribution.value,)
    return next((each for each in values if _same(each, value)), None)


def _same(one: Any, other: Any) -> bool:
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (one, other))
    return isclose(one, other, rel_tol=1e-9) if numbers else bool(one == other)
