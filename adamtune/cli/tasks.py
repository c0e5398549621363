"""``adamtune tasks``."""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from adamtune.tasks.entry import TaskEntry
    from adamtune.tasks.program import ProgramEntry


def tasks(
    task: Annotated[
        str | None,
        typer.Argument(metavar="TASK", help="A file such as churn.py, a module, or a task's name"),
    ] = None,
) -> None:
    """List all tasks, or one, with settings, defaults and metrics."""
    from adamtune.tasks.registry import known_names

    shown = map(_found, known_names() if task is None else [task])
    typer.echo("\n\n".join(map(_described, shown)))


def _found(name: str) -> TaskEntry | ProgramEntry:
    from adamtune.config.aliases import unknown_name
    from adamtune.errors import UsageError
    from adamtune.tasks.registry import FORMS, find_task, known_names

    entry = find_task(name)
    if entry is None:
        raise UsageError(f"{unknown_name('task', name, known_names())}, {FORMS}")
    return entry


def _described(task: TaskEntry | ProgramEntry) -> str:
    from adamtune.reports.text import aligned
    from adamtune.tasks.entry import TaskEntry

    settings = [(name, _default(field), _meaning(field)) for name, field in task.fields.items()]
    usual = task.metrics_with({}) if isinstance(task, TaskEntry) else task.metrics
    metrics = [
        (name, direction, "" if name in usual else "with other settings")
        for name, direction in task.metrics.items()
    ]
    if not settings:
        settings = [("any", "-", "run.settings has what the study file gives under task and space.task")]
    rows = [("setting", "default", ""), *settings, ("metric", "direction", ""), *metrics]
    more = ["  metrics() may return others: give their directions in the task, or in the study"]
    head = f"{task.label}: {task.summary}"
    return "\n".join([head, *aligned(rows, "  "), *(more if task.has_other_metrics else [])])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default()
    return "-" if value is None else str(list(value) if isinstance(value, tuple) else value)


def _meaning(field: FieldInfo) -> str:
    from adamtune.config.task_section import setting_type
    from adamtune.config.validation import adapter, describe, not_null

    literal = typing.get_origin(field.annotation) is typing.Literal
    names = ", ".join(map(str, typing.get_args(field.annotation))) if literal else ""
    if not field.description and not literal:
        return describe(not_null(adapter(setting_type(field)).json_schema()))
    return ": ".join(filter(None, (field.description, names)))
