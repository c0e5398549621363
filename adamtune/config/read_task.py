"""From the file's task section, and the searched settings, to a checked task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic.fields import FieldInfo

from adamtune.config.distributions import Distribution, combinations
from adamtune.config.leaves import LeafReader
from adamtune.config.problems import KeyPath, Problems, found, unknown
from adamtune.config.study import TaskChoice
from adamtune.config.validation import judge
from adamtune.tasks.catalog import TASKS, Settings, TaskEntry

SEARCHED: KeyPath = ("space", "task")


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
        elif name in settings:
            problems.add(path, f"found with task.{name}; keep one: the fixed value or the searched ones")
        elif not isinstance(raw[name], list | dict):
            problems.add(path, found(raw[name], f"a list or a range; a fixed value goes to task.{name}"))
    read = {
        name: LeafReader(_kind(field), problems).read(raw[name], (*SEARCHED, name))
        for name, field in fields.items()
        if isinstance(raw.get(name), list | dict) and name not in settings
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
