"""Reads ``task`` and ``space.task`` where the task is a user's function or a command."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adamtune.catalog import ONE_MINUS, TRAINING, as_trained
from adamtune.config.aliases import illegal_value
from adamtune.config.distributions import RANGE_KEYS, DistributionReader
from adamtune.config.problems import KeyPath, Problems
from adamtune.config.space import Distribution, Fixed, Space
from adamtune.config.task_choice import CommandChoice, TaskChoice
from adamtune.config.validation import validate
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.schedules.registry import SCHEDULES
from adamtune.tasks.base import Direction
from adamtune.tasks.program import ProgramEntry, placeholders

SEARCHED: KeyPath = ("space", "task")
SCALAR: Any = bool | int | float | str
VALUE: Any = SCALAR | None | list[Any]
HYPERPARAMETERS = frozenset(
    {form for entry in (*OPTIMIZERS.values(), *SCHEDULES.values(), TRAINING) for form in entry.forms}
    | {"optimizer", "schedule"}
)
"""Names that a setting of a task cannot have, because one dict has all settings of a trial."""
NUMBERS = ("seed", "trial")
"""Names that a command may use beside its settings."""
DIRECTION: Any = Direction
KEYS = ("command", "metrics", "parameters")


def read_function(
    entry: ProgramEntry, settings: Mapping[str, object], searched: object, problems: Problems
) -> tuple[TaskChoice, dict[str, Distribution]]:
    """The choice of a function and its searched settings, which may have any names.

    Args:
        entry: the function.
        settings: the settings in the file's ``task``.
        searched: the file's ``space.task``.
        problems: receives the problems found.
    """
    return TaskChoice(name=entry.name, settings=_fixed(settings, problems)), _searched(
        searched, settings, problems
    )


def read_command(
    raw: Mapping[str, object], searched: object, problems: Problems, folder: Path
) -> tuple[CommandChoice | None, dict[str, Distribution]]:
    """The choice of a command, or None after problems are recorded; and its searched settings.

    Args:
        raw: the file's ``task``.
        searched: the file's ``space.task``.
        problems: receives the problems found.
        folder: the folder of the study file, in which the command runs.
    """
    settings = {name: each for name, each in raw.items() if name not in KEYS}
    command = _command(raw["command"], problems)
    metrics = _metrics(raw.get("metrics"), problems)
    parameters: list[str] | None = validate(
        list[str], raw.get("parameters", []), ("task", "parameters"), problems
    )
    distributions = _searched(searched, settings, problems)
    fixed = _fixed(settings, problems)
    if command is None or metrics is None or parameters is None:
        return None, distributions
    names = tuple(dict.fromkeys([*parameters, *placeholders(command)]))
    choice = CommandChoice(
        command=command, metrics=metrics, parameters=names, folder=str(folder.resolve()), settings=fixed
    )
    return choice, distributions


def _command(raw: object, problems: Problems) -> str | None:
    path = ("task", "command")
    command = validate(str, raw, path, problems)
    try:
        if command is not None and not shlex.split(command):
            problems.add(path, "found no program; write a command such as python train.py --lr {lr}")
    except ValueError as error:
        problems.add(path, f"cannot be split as a shell does it: {str(error).lower()}")
        return None
    return command


def _metrics(raw: object, problems: Problems) -> dict[str, Direction] | None:
    path = ("task", "metrics")
    if not isinstance(raw, dict) or not raw:
        problems.add(path if raw is not None else ("task",), f"{_NO_METRICS} {{val_loss: minimize}}")
        return None
    if "step" in raw:
        problems.add((*path, "step"), "is the step of a report; give the metric another name")
    found = {name: validate(DIRECTION, each, (*path, name), problems) for name, each in raw.items()}
    return {name: each for name, each in found.items() if each is not None}


_NO_METRICS = "needs the metrics that the command reports and their good directions, such as metrics:"


def _fixed(settings: Mapping[str, object], problems: Problems) -> dict[str, Any]:
    found = {}
    for name, each in settings.items():
        if _is_free(name, ("task", name), problems):
            found[name] = validate(VALUE, each, ("task", name), problems)
    return found


def _searched(raw: object, settings: Mapping[str, object], problems: Problems) -> dict[str, Distribution]:
    if not isinstance(raw, dict):
        problems.add(SEARCHED, illegal_value(raw, "a mapping of the task's settings"))
        return {}
    found = {}
    for name, each in raw.items():
        path = (*SEARCHED, name)
        if not _is_free(name, path, problems):
            continue
        if name in settings:
            problems.add(path, f"found with task.{name}; keep one: the fixed value or the searched ones")
        elif not isinstance(each, list | dict):
            problems.add(path, illegal_value(each, f"a list or a range; a fixed value goes to task.{name}"))
        else:
            found[name] = DistributionReader(_kind(each), problems).read(each, path)
    return {name: each for name, each in found.items() if each is not None}


def _is_free(name: str, path: KeyPath, problems: Problems) -> bool:
    """Whether a setting may have this name; records a problem if not."""
    if name in HYPERPARAMETERS or name in NUMBERS:
        problems.add(path, f"{name} has a meaning of its own in every trial: give this setting another name")
    elif not name.isidentifier():
        problems.add(path, "is no name of a setting: use letters, digits and _")
    else:
        return True
    return False


def _kind(raw: list[object] | dict[str, object]) -> Any:
    """The type of one value of a list or a range: a range between whole numbers has whole numbers."""
    if isinstance(raw, list):
        return SCALAR
    ends = [raw.get(key) for key in RANGE_KEYS[:2]]
    return int if all(type(each) is int for each in ends) else float


def check_command(choice: CommandChoice, space: Space, problems: Problems) -> None:
    """Records problems of what a command gets and what is searched.

    Args:
        choice: the command.
        space: the space of the study.
        problems: receives the problems found.
    """
    settings = {*choice.settings, *space.task}
    in_command = placeholders(choice.command)
    for name in choice.parameters:
        key = "command" if name in in_command else "parameters"
        if lacking := [] if name in settings | set(NUMBERS) else _lacking(name, space):
            problems.add(("task", key), _unknown(name, lacking, space, settings))
    for _, path, each in space.distributions():
        name = as_trained(path[-1], 0.0)[0]
        if not isinstance(each, Fixed) and not {name, ONE_MINUS + name} & set(choice.parameters):
            problems.add(
                path,
                f"is searched, but the command does not get it: write {{{name}}} in the command, or"
                f" {name} under task.parameters if the command reads $ADAMTUNE_SETTINGS",
            )


def _lacking(name: str, space: Space) -> Sequence[str]:
    """The optimizers or schedules that lack a hyperparameter which the command gets."""
    if name in ("optimizer", "schedule", *TRAINING.forms):
        return ()
    for chosen, catalog in ((space.schedules, SCHEDULES), (space.optimizers, OPTIMIZERS)):
        lacking = [each for each in chosen if name not in catalog[each].forms]
        if len(lacking) < len(chosen):
            return lacking
    return lacking


def _unknown(name: str, lacking: Sequence[str], space: Space, settings: set[str]) -> str:
    if name in HYPERPARAMETERS:
        return f"{name} is no hyperparameter of {', '.join(lacking)}"
    forms = [form for each in space.optimizers for form in OPTIMIZERS[each].forms]
    known = dict.fromkeys(["seed", *forms, *sorted(settings)])
    return (
        f"{name} is neither a hyperparameter nor a setting; allowed: {', '.join(known)}, and settings of your"
        " own under task or space.task (a brace that is meant is written twice)"
    )
