"""Reads ``task`` and ``space.task`` of a study file: the task with its fixed and its searched settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from adamtune.config.aliases import find_alias, illegal_value, unknown_key, unknown_name
from adamtune.config.distributions import DistributionReader
from adamtune.config.problems import KeyPath, Problems
from adamtune.config.program_section import HYPERPARAMETERS, read_command, read_function
from adamtune.config.space import Distribution, all_combinations, combinations
from adamtune.config.task_choice import CommandChoice, TaskChoice
from adamtune.config.validation import check
from adamtune.errors import UsageError
from adamtune.tasks.base import Task
from adamtune.tasks.entry import TaskEntry
from adamtune.tasks.program import ProgramEntry
from adamtune.tasks.registry import FORMS, TASKS, find_task, known_names

SEARCHED: KeyPath = ("space", "task")
ONE_EACH = "move it to the task, with one value, and make a study for each"


def read_task(
    raw: object, searched: object, problems: Problems, folder: Path, given: TaskEntry | None = None
) -> tuple[TaskChoice | CommandChoice | None, dict[str, Distribution]]:
    """The task of a study and its searched settings.

    Args:
        raw: the file's ``task``: a name, or a mapping of ``name`` and settings.
        searched: the file's ``space.task``.
        problems: receives the problems found.
        folder: the folder of the study file, to which the file of a task is relative.
        given: a task that no name leads to; then the name is its own.

    Returns:
        The task, or None after problems with its name are recorded; and the searched settings by name.
    """
    settings = dict(raw) if isinstance(raw, dict) else {"name": raw}
    path: KeyPath = ("task", "name") if isinstance(raw, dict) else ("task",)
    if "command" in settings and "name" not in settings:
        return read_command(settings, searched, problems, folder)
    if "name" not in settings:
        problems.add(
            ("task",), f"is missing 'name'; allowed: {', '.join(known_names())}, {FORMS}; or give a command"
        )
        return None, {}
    name = settings.pop("name")
    entry = given or _find(name, path, problems, folder)
    if entry is None:
        return None, {}
    if isinstance(entry, ProgramEntry):
        return read_function(entry, settings, searched, problems)
    distributions = _searched(entry, searched, settings, problems)
    fixed = _fixed(entry, settings, distributions, problems, folder)
    return TaskChoice(name=entry.name, settings=fixed, given=given), distributions


def _find(name: object, path: KeyPath, problems: Problems, folder: Path) -> TaskEntry | ProgramEntry | None:
    """The task of a name, or None after problems are recorded."""
    if not isinstance(name, str):
        problems.add(path, illegal_value(name, f"{', '.join(known_names())}, {FORMS}"))
        return None
    try:
        entry = find_task(name, folder)
    except UsageError as error:
        problems.add(path, str(error), cause=error)
        return None
    if entry is None:
        alias, said = find_alias(name, TASKS), unknown_name("task", name, known_names())
        if (folder / f"{name}.py").is_file():
            said = f"unknown task {name!r}; did you mean {name}.py? allowed: {', '.join(known_names())}"
        problems.add(path, said if alias else f"{said}, {FORMS}")
        return TASKS[alias.name] if alias else None  # so that the settings are checked, too
    return entry


def _searched(
    entry: TaskEntry, raw: object, settings: Mapping[str, object], problems: Problems
) -> dict[str, Distribution]:
    if not isinstance(raw, dict):
        problems.add(SEARCHED, illegal_value(raw, "a mapping of the task's settings"))
        return {}
    fields = entry.fields
    for name in raw:
        path = (*SEARCHED, name)
        if name not in fields:
            problems.add(path, unknown_key(f"setting of {entry.label}", name, list(fields), "task"))
        elif name in (entry.settings.data_settings or ()):
            problems.add(path, f"changes the data, so its trials cannot be compared: {ONE_EACH}")
        elif name in HYPERPARAMETERS:
            problems.add(path, f"is a hyperparameter's name, too: give the setting of {entry.label} another")
        elif name in settings:
            problems.add(path, f"found with task.{name}; keep one: the fixed value or the searched ones")
        elif not isinstance(raw[name], list | dict):
            problems.add(
                path, illegal_value(raw[name], f"a list or a range; a fixed value goes to task.{name}")
            )
    distributions = {
        name: DistributionReader(setting_type(field), problems).read(raw[name], (*SEARCHED, name))
        for name, field in fields.items()
        if isinstance(raw.get(name), list | dict)
        and name not in {*settings, *(entry.settings.data_settings or ())}
    }
    return {name: each for name, each in distributions.items() if each is not None}


def setting_type(field: FieldInfo) -> Any:
    """The type of one setting with its bounds, without the checks of several settings together."""
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def _fixed(
    entry: TaskEntry,
    settings: Mapping[str, object],
    searched: Mapping[str, Distribution],
    problems: Problems,
    folder: Path,
) -> dict[str, Any]:
    """The settings that are not searched, with defaults.

    Checks them with combinations of the searched ones, up to the first combination with problems.
    """
    checked: Task | None = None
    together = all_combinations if _is_checked_together(entry, searched) else combinations
    for combination in together(searched):
        checked, found = check(entry.settings, {**settings, **combination}, folder=folder)
        for place, message in found:
            section = SEARCHED if place and place[0] in searched else ("task",)
            problems.add((*section, *place), message)
        if found:
            break
    written = checked.model_dump(mode="json", by_alias=True) if checked else {}
    return {name: each for name, each in written.items() if name not in searched}


def _is_checked_together(entry: TaskEntry, searched: Mapping[str, Distribution]) -> bool:
    """Whether more is asked of the searched settings than their types and bounds, which were checked."""
    checks = entry.settings.__pydantic_decorators__
    constraints = [each for name in searched for each in entry.fields[name].metadata]
    own = checks.validators or checks.field_validators or checks.root_validators or checks.model_validators
    return bool(own) or not all(isinstance(each, Ge | Gt | Le | Lt) for each in constraints)
