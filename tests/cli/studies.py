"""Study files for real searches, and what the command line says of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from .conftest import Ended

Adamtune = Callable[..., Ended]

TASK: dict[str, Any] = {
    "name": "mlp",
    "dataset": "diabetes",
    "hidden": [4],
    "batch_size": 128,
    "epochs": 5,
}
WILD = {"low": 1e-2, "high": 1e4, "log": True}
"""Learning rates of which many diverge."""


def write(path: Path, **changed: Any) -> Path:
    """A study file at ``path`` of six trials in ``studies.db`` beside it; ``task`` and ``search`` are
    changed key by key, other keys replaced."""
    document: dict[str, Any] = {
        "name": "s",
        "storage": str(path.parent / "studies.db"),
        "task": TASK | changed.pop("task", {}),
        "optimizer": "sgd",
        "space": {"lr": WILD},
        "search": {"trials": 6} | changed.pop("search", {}),
    }
    path.write_text(yaml.safe_dump(document | changed))
    return path


def without_seconds(report: str) -> dict[str, Any]:
    """A JSON report, but for wall time."""
    found: dict[str, Any] = json.loads(report)
    for each in found["trials"]:
        del each["seconds"]
    return found
