"""The task of a study, and its settings that are not searched."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, SkipValidation

from adamtune.config.space import Frozen, Value
from adamtune.errors import UsageError
from adamtune.tasks.base import Direction
from adamtune.tasks.entry import TaskEntry
from adamtune.tasks.program import ProgramEntry
from adamtune.tasks.registry import find_task


class TaskChoice(Frozen):
    """The task of a study.

    Attributes:
        name: its name.
        settings: every setting that is not searched.
        given: the task itself where its name does not lead to it. It is not stored.
    """

    name: str
    settings: Mapping[str, Value]
    given: SkipValidation[TaskEntry | None] = Field(default=None, exclude=True, repr=False)

    @property
    def entry(self) -> TaskEntry | ProgramEntry:
        """The task itself, which is loaded if it is of a file or module.

        Raises:
            UsageError: it is not there, or is wrong.
        """
        entry = self.given or find_task(self.name)
        if entry is None:
            raise UsageError(f"there is no task {self.name}: install the package that has it")
        return entry

    @property
    def metrics(self) -> Mapping[str, Direction]:
        """The known metrics that the task may report with these settings, and their good directions."""
        entry = self.entry
        return entry.metrics_with(self.settings) if isinstance(entry, TaskEntry) else entry.metrics


class CommandChoice(Frozen):
    """A command as the task of a study.

    Attributes:
        command: the command with its placeholders.
        metrics: the metrics that it reports, and their good directions.
        parameters: what the command gets, by name.
        folder: the folder in which it runs.
        settings: every setting that is not searched.
    """

    command: str
    metrics: Mapping[str, Direction]
    parameters: tuple[str, ...]
    folder: str
    settings: Mapping[str, Value]

    @property
    def name(self) -> str:
        """The name of every command."""
        return "command"

    @property
    def entry(self) -> ProgramEntry:
        """The command itself."""
        folder = Path(self.folder)
        return ProgramEntry("command", "the command", self.command, self.metrics, None, folder, self.command)
