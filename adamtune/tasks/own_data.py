"""The setting ``data`` of the reference tasks: a user's file in place of a built-in data set. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_serializer,
)

from adamtune.errors import UsageError
from adamtune.tasks.base import Task

BUILT_IN = ("dataset", "samples")
"""The settings of built-in data sets, which have no meaning for a file."""


def no_such_file(path: Path) -> str:
    """Says that there is no such file, and which one of the same folder may be meant."""
    near = get_close_matches(path.name, [each.name for each in path.parent.glob(f"*{path.suffix}")], n=1)
    return f"{path}: no such file" + (f"; did you mean {near[0]}?" if near else "")


def _absolute(path: Path, info: ValidationInfo) -> Path:
    """The absolute path of a file that a study file names, whose folder is the context of the validation."""
    if info.context is None:
        return path
    found: Path = (info.context / path.expanduser()).resolve()
    if not found.exists():
        raise ValueError(no_such_file(found))
    return found


DataPath = Annotated[
    Path, AfterValidator(_absolute), WithJsonSchema({"type": "string", "description": "a path"})
]


class OwnData(Task):
    """A task that learns a built-in data set, or a file.

    Its settings are stored without those of the data that it does not use. So the studies of built-in data
    sets are the same as before files could be learned.
    """

    file: DataPath | None = Field(
        None, alias="data", description="a file of your own in place of dataset, relative to the study file"
    )

    def existing_file(self) -> Path | None:
        """The file, or None of a built-in data set. Raises UsageError if the file has gone."""
        if self.file is not None and not self.file.exists():
            raise UsageError(f"{no_such_file(self.file)}: put it back, or start a new study with other data")
        return self.file

    @field_validator(*BUILT_IN, check_fields=False)
    @classmethod
    def _is_of_built_in_data(cls, value: Any, info: ValidationInfo) -> Any:
        # It is called for values that were given, not for defaults.
        if info.data.get("file") is not None:
            raise ValueError(f"found with task.data; {info.field_name} is of the built-in data: keep one")
        return value

    @model_serializer(mode="wrap")
    def _used_settings(self, write: SerializerFunctionWrapHandler) -> Mapping[str, Any]:
        of_files = {"file", "data", *(self.data_settings or ())} - {*BUILT_IN}
        unused = of_files if self.file is None else {*BUILT_IN}
        return {name: each for name, each in write(self).items() if name not in unused}
