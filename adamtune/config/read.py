"""From a study file to a Study, or to every problem of the file at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field
from pydantic.fields import FieldInfo

from adamtune.config.document import read_text, read_yaml
from adamtune.config.hyperparameters import LeafReader
from adamtune.config.problems import KeyPath, Problems, found, unknown
from adamtune.config.read_space import DEFAULT_SPACE, read_space
from adamtune.config.space import Distribution, Frozen, Range, Space, combinations
from adamtune.config.study import Head, Objective, Search, StudyConfig, TaskChoice
from adamtune.config.validation import judge, validate
from adamtune.tasks.base import Direction, Settings, TaskEntry
from adamtune.tasks.registry import TASKS

Overrides = Mapping[str, object]
NO_OVERRIDES: Overrides = MappingProxyType({})


class Sections(Head):
    """Every key of a study file; those read further by their own modules are of any type here."""

    task: Any = Field(description="a task's name, or a mapping of its name and settings")
    optimizer: Any = "adamw"
    space: Any = Field(DEFAULT_SPACE)
    search: Any = Field({})
    objective: Any = Field({})


class ObjectiveSection(Frozen):
    """The objective as the file gives it; what it leaves out, the task decides."""

    metric: str | None = Field(None, description="a metric that the task reports")
    direction: Direction | None = Field(None, description="by default the metric's good direction")


def load_study(path: Path, overrides: Overrides = NO_OVERRIDES) -> StudyConfig:
    """Reads a study file.

    Args:
        overrides: values by dotted key path, such as ``{"search.trials": 8}``, that replace the
            file's. Problems with them name the option: ``--trials``.

    Raises:
        StudyFileError: the file or an override is wrong; every problem of it is told.
    """
    return parse_study(read_text(path), str(path), overrides)


def parse_study(text: str, source: str, overrides: Overrides = NO_OVERRIDES) -> StudyConfig:
    """``load_study`` of a text; ``source`` is what messages call it."""
    problems = Problems(source)
    data = read_yaml(text, problems)
    if not isinstance(data, dict):
        problems.add((), found(data, f"a mapping of {', '.join(Sections.model_fields)}"))
        problems.raise_if_any()
    assert isinstance(data, dict)
    _override(data, overrides, problems)
    study = _read(data, text, problems)
    problems.raise_if_any()
    assert study is not None
    return study


def _override(data: dict[str, Any], overrides: Overrides, problems: Problems) -> None:
    for dotted_path, value in overrides.items():
        *sections, key = path = dotted_path.split(".")
        holder: Any = data
        for section in sections:
            holder = holder.setdefault(section, {}) if isinstance(holder, dict) else None
        if isinstance(holder, dict):  # otherwise the file's own section is the problem
            holder[key] = value
            problems.options[tuple(path)] = f"--{key}"


def _read(data: dict[str, Any], text: str, problems: Problems) -> StudyConfig | None:
    """The study, or None after problems are recorded."""
    head = validate(Sections, data, (), problems)
    section = {name: data.get(name, each.get_default()) for name, each in Sections.model_fields.items()}
    space = section["space"]
    raw_searched = space.get("task", {}) if isinstance(space, dict) else {}
    task, searched = read_task(data["task"], raw_searched, problems) if "task" in data else (None, {})
    study_space = read_space(section["optimizer"], space, searched, problems)
    search = validate(Search, section["search"], ("search",), problems)
    objective = _objective(section["objective"], task, problems)
    if search and search.sampler == "grid":
        _reject_ranges(study_space, problems)
    if not (head and task and search and objective):
        return None
    plain = {name: getattr(head, name) for name in Head.model_fields}
    return StudyConfig(**plain, task=task, space=study_space, search=search, objective=objective, text=text)


def _objective(raw: object, task: TaskChoice | None, problems: Problems) -> Objective | None:
    section = validate(ObjectiveSection, raw, ("objective",), problems)
    if section is None or task is None:
        return None
    metrics = TASKS[task.name].metrics
    metric = section.metric or next(iter(metrics))
    if metric not in metrics:
        problems.add(("objective", "metric"), unknown(f"metric of {task.name}", metric, metrics))
        return None
    return Objective(metric=metric, direction=section.direction or metrics[metric])


def _reject_ranges(space: Space, problems: Problems) -> None:
    for _, path, leaf in space.leaves():
        if isinstance(leaf, Range):
            problems.add(path, found(leaf.written(), "a value or a list of values, for the grid sampler"))


SEARCHED: KeyPath = ("space", "task")
ONE_EACH = "move it to the task, with one value, and make a study for each"


def read_task(
    raw: object, searched: object, problems: Problems
) -> tuple[TaskChoice | None, dict[str, Distribution]]:
    """The task and its searched settings; no task after problems with its name are recorded.

    Args:
        raw: the file's ``task``: a name, or a mapping of ``name`` and settings.
        searched: the file's ``space.task``.
    """
    settings = dict(raw) if isinstance(raw, dict) else {"name": raw}
    name_path: KeyPath = ("task", "name") if isinstance(raw, dict) else ("task",)
    if "name" not in settings:
        problems.add(("task",), f"is missing 'name'; allowed: {', '.join(TASKS)}")
        return None, {}
    name = settings.pop("name")
    if not isinstance(name, str):
        problems.add(name_path, found(name, ", ".join(TASKS)))
        return None, {}
    if name not in TASKS:
        problems.add(name_path, unknown("task", name, TASKS))
        return None, {}
    distributions = _searched(TASKS[name], searched, settings, problems)
    fixed = _check(TASKS[name].settings, settings, distributions, problems)
    return TaskChoice(name=name, settings=fixed), distributions


def _searched(
    entry: TaskEntry, raw: object, settings: Mapping[str, object], problems: Problems
) -> dict[str, Distribution]:
    if not isinstance(raw, dict):
        problems.add(SEARCHED, found(raw, "a mapping of the task's settings"))
        return {}
    fields = entry.settings.model_fields
    for name in raw:
        path = (*SEARCHED, name)
        if name not in fields:
            problems.add(path, unknown(f"setting of {entry.name}", name, list(fields)))
        elif name in entry.settings.DATA:
            problems.add(path, f"changes the data, so its trials cannot be compared: {ONE_EACH}")
        elif name in settings:
            problems.add(path, f"found with task.{name}; keep one: the fixed value or the searched ones")
        elif not isinstance(raw[name], list | dict):
            problems.add(path, found(raw[name], f"a list or a range; a fixed value goes to task.{name}"))
    read = {
        name: LeafReader(_kind(field), problems).read(raw[name], (*SEARCHED, name))
        for name, field in fields.items()
        if isinstance(raw.get(name), list | dict) and name not in {*settings, *entry.settings.DATA}
    }
    return {name: each for name, each in read.items() if each is not None}


def _kind(field: FieldInfo) -> Any:
    """A setting's type alone; what depends on other settings, ``_check`` sees."""
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def _check(
    model: type[Settings],
    settings: Mapping[str, object],
    searched: Mapping[str, Distribution],
    problems: Problems,
) -> dict[str, Any]:
    """The settings that are not searched, defaults included; stops at a first bad combination."""
    checked: Settings | None = None
    for combination in combinations(searched):
        checked, complaints = judge(model, {**settings, **combination})
        for place, message in complaints:
            section = SEARCHED if place and place[0] in searched else ("task",)
            problems.add((*section, *place), message)
        if complaints:
            break
    return {name: each for name, each in checked or () if name not in searched}
