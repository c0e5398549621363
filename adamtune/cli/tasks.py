"""``adamtune tasks``."""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from adamtune.tasks.entry import TaskEntry


def tasks() -> None:
    """List the tasks with their settings, defaults and metrics."""
    from adamtune.tasks.registry import TASKS

    typer.echo("\n\n".join(map(_described, TASKS.values())))


def _described(task: TaskEntry) -> str:
    from adamtune.reports.text import aligned

    fields = task.settings.model_fields.items()
    settings = [(name, _default(field), _meaning(field)) for name, field in fields]
    metrics = [(name, direction, "") for name, direction in task.metrics.items()]
    rows = [("setting", "default", ""), *settings, ("metric", "direction", ""), *metrics]
    return "\n".join([f"{task.name}: {task.summary}", *aligned(rows, "  ")])


def _default(field: FieldInfo) -> str:
    value = field.get_default()
    return "-" if value is None else str(list(value) if isinstance(value, tuple) else value)


def _meaning(field: FieldInfo) -> str:
    literal = typing.get_origin(field.annotation) is typing.Literal
    names = ", ".join(typing.get_args(field.annotation)) if literal else ""
    return ": ".join(filter(None, (field.description, names)))
