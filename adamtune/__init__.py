"""Finds the Adam settings that train a model best, many trainings at a time."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adamtune.api.search import search
    from adamtune.api.study import Study, load, studies
    from adamtune.function import Run, trainable
    from adamtune.tasks.base import Task
    from adamtune.tasks.data import Data

__version__ = "0.4.0"

__all__ = ["Data", "Run", "Study", "Task", "__version__", "load", "search", "studies", "trainable"]

_MODULES = {
    "Data": "adamtune.tasks.data",
    "Run": "adamtune.function",
    "Study": "adamtune.api.study",
    "Task": "adamtune.tasks.base",
    "load": "adamtune.api.study",
    "search": "adamtune.api.search",
    "studies": "adamtune.api.study",
    "trainable": "adamtune.function",
}

# The import of the package of this name would later put it in the place of the function.
import_module("adamtune.search")
del globals()["search"]


def __getattr__(name: str) -> Any:
    """Imports a public name at its first use, so that the command line starts at once."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
