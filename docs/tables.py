"""Rewrites the tables of docs/*.md that follow from the code: run ``python docs/tables.py``.

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``; what is around it is written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer.main
from pydantic import BaseModel

from adamtune.catalog import ONE_MINUS, TRAINING, Entry, Hyperparameter
from adamtune.cli.main import app
from adamtune.config.keys import ObjectiveSection, ScalarKeys, Search, StudyFile
from adamtune.config.validation import adapter, describe, not_null
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.reports.text import setting
from adamtune.schedules.registry import SCHEDULES
from adamtune.tasks.entry import TaskEntry
from adamtune.tasks.registry import TASKS

DOCS = Path(__file__).parent
KEYS = ("key", "default", "allowed", "meaning")
TABLE = re.compile(r"(?<=<!-- table: )([a-z-]+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)


def rewritten(text: str) -> str:
    """A page with every table in it as the code has it now."""
    return TABLE.sub(lambda found: f"{found[1]}{found[2]}\n{TABLES[found[1]]()}\n", text)


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join("| " + " | ".join(each.replace("|", r"\|") for each in line) + " |\n" for line in lines)


def _value(value: object) -> str:
    """A default as a study file has it."""
    if value is None:
        return "none"
    if isinstance(value, Mapping):  # a section of the file: its own keys have defaults
        return ""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"`[{', '.join(map(setting(''), value))}]`"
    return f"`{setting('', digits=12)(value)}`"


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Key, default, legal values and meaning of every key of a section."""
    properties = adapter(model).json_schema()["properties"]
    for own, field in model.model_fields.items():
        name = field.alias or own
        default = "required" if field.is_required() else _value(field.default)
        schema = not_null(properties[name])
        legal, meaning = describe(schema), field.description or ""
        yield f"`{prefix}{name}`", default, legal if legal != meaning else "", meaning


def _top_level() -> str:
    """The keys that stand alone; a section is told of in its own part of the page."""
    alone = {f"`{name}`" for name in ScalarKeys.model_fields}
    sections = {"`optimizer`": "optimizers", "`baseline`": "baseline-and-verdict"}
    rows = [
        row if row[0] in alone else (*row[:2], f"see [below](#{sections.get(row[0], row[0].strip('`'))})", "")
        for row in _keys(StudyFile)
    ]
    return _table(KEYS, rows)


def _section(model: type[BaseModel], prefix: str) -> Callable[[], str]:
    return lambda: _table(KEYS, _keys(model, prefix))


def _entries(catalog: Mapping[str, Entry], heading: str) -> Callable[[], str]:
    """A heading and a table for every optimizer or schedule."""
    return lambda: "\n".join(
        f"{heading} {entry.name}\n\n{entry.summary} ({entry.reference}).\n\n" + _hyperparameters(entry)
        for entry in catalog.values()
    )


def _hyperparameters(entry: Entry) -> str:
    heading = ("hyperparameter", "default", "legal", "meaning")
    return _table(heading, map(_hyperparameter, entry.hyperparameters))


def _hyperparameter(each: Hyperparameter) -> tuple[str, str, str, str]:
    other = f" or `{ONE_MINUS}{each.name}`" if each.complement else ""
    kind = "integer in " if each.kind is int else ""
    return f"`{each.name}`{other}", _value(each.default), kind + each.legal, each.summary


def _tasks() -> str:
    return "\n".join(map(_task, TASKS.values()))


def _task(task: TaskEntry) -> str:
    settings = _table(("setting", "default", "allowed", "meaning"), _keys(task.settings))
    metrics = ", ".join(f"`{name}` ({direction})" for name, direction in task.metrics.items())
    summary = task.summary[0].upper() + task.summary[1:]
    return f"### {task.name}\n\n{summary}. Metrics: {metrics}.\n\n{settings}"


def _commands() -> str:
    """A heading and a table of arguments and options for every command."""
    group: Any = typer.main.get_command(app)
    return "\n".join(_command(name, each) for name, each in group.commands.items())


def _command(name: str, command: Any) -> str:
    context = command.make_context(name, [], resilient_parsing=True)
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    records = [(each.metavar, each.help) for each in arguments]
    records += [each.get_help_record(context) for each in command.params if each not in arguments]
    usage = " ".join(each.metavar if each.required else f"[{each.metavar}]" for each in arguments)
    described = f"## {name}\n\n`{f'adamtune {name} {usage}'.strip()}`\n\n{command.help}\n"
    rows = [(f"`{names}`", meaning) for names, meaning in records]
    return described + ("\n" + _table(("argument or option", "meaning"), rows) if rows else "")


TABLES: Mapping[str, Callable[[], str]] = {
    "keys": _top_level,
    "search": _section(Search, "search."),
    "objective": _section(ObjectiveSection, "objective."),
    "training": lambda: _hyperparameters(TRAINING),
    "optimizers": _entries(OPTIMIZERS, "###"),
    "schedules": _entries(SCHEDULES, "####"),
    "tasks": _tasks,
    "commands": _commands,
}


if __name__ == "__main__":
    for page in DOCS.glob("*.md"):
        page.write_text(rewritten(page.read_text(encoding="utf-8")), encoding="utf-8")
