"""Programs: trainings that are a user's function or command. Torch-free to import."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([A-Za-z_]\w*)\}")
"""A name in braces; doubled braces are braces."""


@dataclass(frozen=True, eq=False)
class Program:
    """A training that runs in a process of its own: a function or a command, with its settings.

    Attributes:
        metrics: the names of the metrics that every report has.
        command: the command with its placeholders; None for a function.
        function: ``FILE:NAME`` or ``MODULE:NAME`` of the function; None for a command.
        folder: the folder in which the process runs.
        settings: the settings of the task, searched ones included.
        steps: the step of the last report, if it is known before.
    """

    metrics: tuple[str, ...]
    command: str | None = None
    function: str | None = None
    folder: Path = Path()
    settings: Mapping[str, Any] = field(default_factory=dict)
    steps: int | None = None


def placeholders(command: str) -> list[str]:
    """The names of the placeholders of a command, each once."""
    return list(dict.fromkeys(each[1] for each in PLACEHOLDER.finditer(command) if each[1]))


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
