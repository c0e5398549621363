"""A task as the reader of a study file finds it. Torch-free to import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import getdoc
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from adamtune.tasks.base import Direction, Task
from adamtune.tasks.code_hash import code_hash
from adamtune.tasks.source import line_of, user_errors

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from adamtune.tasks.loaded import LoadedTask


def _metrics(directions: Mapping[str, Direction]) -> dict[str, Direction]:
    own: dict[str, Direction] = {f"val_{name}": each for name, each in directions.items()}
    return {"val_loss": "minimize", **own, "train_loss": "minimize"}


@dataclass(frozen=True)
class TaskEntry:
    """A task that a study can name.

    Attributes:
        name: the task's name in a stored study.
        settings: the class of the task; an object of it is the task with its settings.
        file: the file that the study names, or that its module has; None for a reference task.
    """

    name: str
    settings: type[Task]
    file: Path | None = None

    @property
    def code_hash(self) -> str | None:
        """SHA-256 (hex) of the user's code; None for a reference task."""
        return None if self.file is None else code_hash(self.file)

    @property
    def is_own(self) -> bool:
        """Whether it is a user's task."""
        return self.file is not None

    @property
    def label(self) -> str:
        """The name in messages: that of the class for a task of a file or module."""
        return self.name if self.name.isidentifier() else self.settings.__name__

    @property
    def summary(self) -> str:
        """What the task is, in one line for people."""
        own = self.settings.__doc__ and getdoc(self.settings)
        return own.split("\n")[0].rstrip(".") if own else self.settings.__name__

    @property
    def metrics(self) -> dict[str, Direction]:
        """The known metrics and their good directions; the first is the default objective."""
        return _metrics(self.settings.directions)

    def metrics_with(self, settings: Mapping[str, Any]) -> dict[str, Direction]:
        """Those of ``metrics`` that the task may report with some settings.

        Raises:
            UsageError: the task's ``metric_directions`` raised, or returned another direction.
        """
        with user_errors(line_of(self.settings, "metric_directions")):
            found = self.settings.model_construct(**settings).metric_directions()
            if wrong := [each for each in found.values() if each not in get_args(Direction)]:
                raise ValueError(f"found {wrong[0]!r}: give 'minimize' or 'maximize'")
            return _metrics(found)

    @property
    def fields(self) -> dict[str, FieldInfo]:
        """The settings by the names that study files have for them."""
        return {each.alias or name: each for name, each in self.settings.model_fields.items()}

    @property
    def has_other_metrics(self) -> bool:
        """Whether the task may report metrics whose directions it does not give."""
        own = self.settings
        return self.is_own and own.metrics is not Task.metrics

    def build(self, settings: Mapping[str, Any]) -> LoadedTask:
        """Loads the task with its data (imports torch).

        Raises:
            pydantic.ValidationError: a setting is unknown or out of its range.
            ValueError: the settings do not fit together or do not fit the data.
        """
        from adamtune.tasks.loaded import load

        return load(self.settings.model_validate(settings))
