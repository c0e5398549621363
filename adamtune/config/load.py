"""From a study file to a Study, or to every problem of the file at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import Field

from adamtune.config.distributions import Frozen, Range
from adamtune.config.document import read_text, read_yaml
from adamtune.config.problems import Problems, found, unknown
from adamtune.config.read_space import DEFAULT_SPACE, read_space
from adamtune.config.read_task import read_task
from adamtune.config.space import Space
from adamtune.config.study import Head, Objective, Search, Study, TaskChoice
from adamtune.config.validation import validate
from adamtune.tasks.catalog import TASKS, Direction

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


def load_study(path: Path, overrides: Overrides = NO_OVERRIDES) -> Study:
    """Reads a study file.

    Args:
        overrides: values by dotted key path, such as ``{"search.trials": 8}``, that replace the
            file's. Problems with them name the option: ``--trials``.

    Raises:
        StudyFileError: the file or an override is wrong; every problem of it is told.
    """
    return parse_study(read_text(path), str(path), overrides)


def parse_study(text: str, source: str, overrides: Overrides = NO_OVERRIDES) -> Study:
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


def _read(data: dict[str, Any], text: str, problems: Problems) -> Study | None:
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
    return Study(**plain, task=task, space=study_space, search=search, objective=objective, text=text)


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
