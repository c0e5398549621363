"""The settings of one trial as a JSON file: what ``adamtune export`` writes and ``adamtune check`` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ConfigDict, Field

from adamtune.catalog import TRAINING
from adamtune.config.aliases import illegal_value, unknown_key
from adamtune.config.baseline import fixed_settings, read_settings
from adamtune.config.document import read_text, read_yaml
from adamtune.config.problems import Problems, printable, show
from adamtune.config.space import Frozen, Value
from adamtune.config.study import StudyConfig
from adamtune.config.validation import check, validate
from adamtune.errors import UsageError
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.schedules.registry import SCHEDULES
from adamtune.tasks.base import Direction
from adamtune.tasks.entry import TaskEntry


class SettingsFile(Frozen):
    """The keys of the file. Those with a default say where the settings come from, and decide nothing.

    Attributes:
        settings: ``optimizer``, its hyperparameters and ``schedule``, as in ``baseline`` of a study file.
        task: the ``name`` of the task and its settings, as in ``task`` of a study file.
        study, trial: the study, and the number of its trial; None for its baseline.
        metric, direction: the objective.
        value: the objective in the search, by which the trial was ranked; None for a baseline.
        fresh_values: the objective on seeds that the search never saw.
        code_hash, data_hash: of the user's code, and of the data.
        recipe: how every trial of the study was trained; see ``recipe.Recipe``.
        versions: of adamtune and others.
    """

    # A later version may write more keys that decide nothing.
    model_config = ConfigDict(extra="ignore")

    settings: Any = Field(description="a mapping of optimizer, its hyperparameters and schedule")
    task: Any = Field(description="a mapping of name and the settings of the task")
    study: str = ""
    trial: int | None = None
    metric: str = ""
    direction: Direction | None = None
    value: float | None = None
    fresh_values: tuple[float, ...] = ()
    code_hash: str | None = None
    data_hash: str | None = None
    recipe: Any = None
    versions: Any = None


class Trained(NamedTuple):
    """Everything that one side of a comparison is trained with.

    Attributes:
        name: the file that says it.
        settings: optimizer, schedule and their hyperparameters, by the names that they are trained with.
        task: every setting of the task.
        text: the text of the file.
        file: its keys; None for a study file.
    """

    name: str
    settings: Mapping[str, Value]
    task: Mapping[str, Any]
    text: str
    file: SettingsFile | None = None


def settings_notation(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a trial in the notation of study files, without those of the task."""
    optimizer, schedule = settings["optimizer"], settings["schedule"]
    # A trial of an older version may lack a hyperparameter that was added since.
    own, its = OPTIMIZERS[optimizer].defaults, SCHEDULES[schedule].defaults
    return {
        "optimizer": optimizer,
        **{name: settings.get(name, default) for name, default in own.items()},
        **{name: settings[name] for name in TRAINING.defaults if name in settings},
        "schedule": {
            "name": schedule,
            **{name: settings.get(name, default) for name, default in its.items()},
        },
    }


def task_name(name: str) -> str:
    """The name of a task without the folder of its file, which is another on another machine."""
    return name.replace("\\", "/").rpartition("/")[2]


def read_trained(path: Path, study: StudyConfig) -> Trained:
    """What a settings file says to train a study's task with.

    The settings that choose the data are those of the study.

    Raises:
        StudyFileError: the file is wrong; the error has all problems.
    """
    text = read_text(path, "settings file (JSON)", "*.json")
    problems = Problems(printable(str(path)), text)
    raw = _read_json(text, problems)
    file = validate(SettingsFile, raw, (), problems)
    problems.raise_if_any()
    assert file is not None
    settings = _read_settings(file.settings, problems)
    task = _read_task(file.task, study, problems)
    problems.raise_if_any()
    assert settings is not None
    return Trained(path.name, settings, task, text, file)


def trained_of_study(study: StudyConfig, path: Path) -> Trained:
    """What a study file says whose space has one value for each setting.

    Raises:
        UsageError: something is searched.
    """
    searched = study.space.searched
    if searched:
        found = ", ".join(f"{name}: {show(each.file_value())}" for name, each in searched.items())
        raise UsageError(
            f"{path}: space is searched ({found}), so it says no settings to check: give each one value, or"
            " give the settings with --candidate FILE (as `adamtune export` writes them)"
        )
    return Trained(path.name, fixed_settings(study.space), study.task.settings, study.text)


def _read_json(text: str, problems: Problems) -> object:
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        where = (error.lineno, error.colno) if isinstance(error, json.JSONDecodeError) else None
        said = error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__
        problems.add((), f"not JSON: {said}", where)
        problems.raise_if_any()
    # JSON is YAML, and its reader knows the line of each key.
    raw = read_yaml(text, problems)
    if not isinstance(raw, dict):
        problems.add((), illegal_value(raw, "a mapping of settings and task"))
        problems.raise_if_any()
    return raw


def _read_settings(raw: object, problems: Problems) -> dict[str, Value] | None:
    if not isinstance(raw, dict):
        allowed = "a mapping of optimizer, its hyperparameters and schedule"
        problems.add(("settings",), illegal_value(raw, allowed))
        return None
    if "optimizer" not in raw:
        problems.add(("settings", "optimizer"), f"is missing; allowed: {', '.join(OPTIMIZERS)}")
        return None
    rest = {key: each for key, each in raw.items() if key != "task"}
    if rest != raw:
        problems.add(("settings", "task"), "the settings of the task go to task")
    return read_settings(rest, "settings", problems)


def _read_task(raw: object, study: StudyConfig, problems: Problems) -> dict[str, Any]:
    entry, known = study.task.entry, dict(study.task.settings)
    if not isinstance(raw, dict):
        problems.add(("task",), illegal_value(raw, "a mapping of name and the settings of the task"))
        return known
    here = task_name(entry.name)
    if raw.get("name") != here:
        found = f"found {show(raw['name'])}" if "name" in raw else "is missing"
        problems.add(("task", "name"), f"{found}; allowed: {here}, the task that is checked")
        return known
    own = {key: each for key, each in raw.items() if key != "name"}
    if not isinstance(entry, TaskEntry):
        return known | own
    for name in [each for each in own if each not in entry.fields]:
        problems.add(
            ("task", name), unknown_key(f"setting of {entry.label}", name, list(entry.fields), "task")
        )
    chosen = entry.settings.data_settings or ()
    own = {name: each for name, each in own.items() if name in entry.fields and name not in chosen}
    checked, wrong = check(entry.settings, known | own)
    for place, message in wrong:
        problems.add(("task", *place), message)
    return checked.model_dump(mode="json", by_alias=True) if checked else known
