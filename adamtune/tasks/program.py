"""Programs: trainings that are a user's function or command. Torch-free to import."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic.fields import FieldInfo

from adamtune.catalog import ONE_MINUS, TRAINING
from adamtune.function import Trainable
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.tasks.base import Direction
from adamtune.tasks.code_hash import code_hash

PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([A-Za-z_]\w*)\}")
"""A name in braces; doubled braces are braces."""


@dataclass(frozen=True, eq=False)
class Program:
    """A training that runs in a process of its own: a function or a command, with its settings.

    Attributes:
        metrics: the names of the metrics that every report has.
        command: the command with its placeholders; None for a function.
        function: ``FILE`` or ``MODULE``, ``:`` and the name of the function; None for a command.
        folder: the folder in which the process runs.
        settings: the settings of the task, searched ones included.
    """

    metrics: tuple[str, ...]
    command: str | None = None
    function: str | None = None
    folder: Path = Path()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def steps(self) -> int | None:
        """The step of the last report, if a setting of that name says it."""
        steps = self.settings.get("steps")
        return steps if isinstance(steps, int) else None


@dataclass(frozen=True)
class ProgramEntry:
    """A function or a command that a study can name.

    Attributes:
        name: the name in a stored study: ``FILE:NAME`` or ``MODULE:NAME`` of a function; ``command``.
        label: the name in messages.
        summary: what it is, in one line for people.
        metrics: each metric and its good direction; the first is the default objective.
        file: the file of a function.
        folder: the folder in which processes run.
        command: the command with its placeholders; None for a function.
    """

    name: str
    label: str
    summary: str
    metrics: Mapping[str, Direction]
    file: Path | None = None
    folder: Path = Path()
    command: str | None = None
    fields: ClassVar[Mapping[str, FieldInfo]] = {}  # settings may have any names
    has_other_metrics: ClassVar[bool] = False

    @property
    def code_hash(self) -> str | None:
        """SHA-256 (hex) of the user's code; None for a command."""
        return None if self.file is None else code_hash(self.file)

    def program(self, settings: Mapping[str, Any]) -> Program:
        """The program with its settings."""
        function = self.name if self.command is None else None
        return Program(tuple(self.metrics), self.command, function, self.folder, settings)


def function_entry(name: str, function: Trainable, file: Path | None, folder: Path) -> ProgramEntry:
    """The entry of a user's function; arguments as the attributes of ``ProgramEntry``."""
    own = function.function.__name__
    return ProgramEntry(name, own, function.summary, function.metrics, file, folder)


def placeholders(command: str) -> list[str]:
    """The names of the placeholders of a command, each once."""
    return list(dict.fromkeys(each[1] for each in PLACEHOLDER.finditer(command) if each[1]))


def command_values(settings: Mapping[str, Any], seed: int, trial: int) -> dict[str, Any]:
    """What the placeholders of a command may stand for, by name.

    Args:
        settings: everything that the trial is trained with.
        seed: the seed of the training.
        trial: the number of the trial.
    """
    forms = OPTIMIZERS[settings["optimizer"]].forms
    complements = {
        name: 1 - settings[name.removeprefix(ONE_MINUS)] for name in forms if name.startswith(ONE_MINUS)
    }
    return {**TRAINING.defaults, **settings, **complements, "seed": seed, "trial": trial}


def fill(command: str, values: Mapping[str, Any]) -> list[str]:
    """The arguments of a command.

    It is split as a shell splits it, then each placeholder is replaced: a value never becomes two arguments.

    Args:
        command: the command with its placeholders.
        values: the value of each placeholder. Text stands as it is, everything else as in JSON.

    Raises:
        ValueError: a quotation mark has no counterpart.
        KeyError: a placeholder has no value.
    """

    def replace(found: re.Match[str]) -> str:
        if not found[1]:
            return found[0][0]
        value = values[found[1]]
        return value if isinstance(value, str) else json.dumps(value)

    return [PLACEHOLDER.sub(replace, each) for each in shlex.split(command)]
