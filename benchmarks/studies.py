"""Study files for adamtune that search what the plain scripts search."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

TASKS = ("mlp", "cnn", "transformer")
TRIALS = {"mlp": 256, "cnn": 256, "transformer": 64}
"""Trials of a full measurement."""

NAME = "benchmark"
SPACE = {
    "lr": {"low": 1e-5, "high": 1e-1, "log": True},
    "one_minus_beta1": {"low": 0.02, "high": 0.5, "log": True},
    "one_minus_beta2": {"low": 1e-4, "high": 1e-1, "log": True},
    "eps": {"low": 1e-10, "high": 1e-3, "log": True},
    "weight_decay": {"low": 1e-6, "high": 1e-1, "log": True},
    "schedule": {
        "name": ["constant", "cosine", "linear", "exponential", "step"],
        "warmup_fraction": {"low": 0.0, "high": 0.1},
    },
}
"""That of configs/digits-cnn.yaml and of ``plain_training.suggest``."""


def measured_settings(task: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a measured task: its defaults, but for the mlp those that the first figures were of."""
    measured = {"dataset": "diabetes", "epochs": 30} if task == "mlp" else {}
    return measured | dict(given)


def study_file(
    task: str,
    settings: Mapping[str, Any],
    search: Mapping[str, Any],
    optimizer: str = "adamw",
    space: Mapping[str, Any] = SPACE,
    storage: str = "runs/adamtune.db",
    workers: int = 1,
) -> str:
    """The text of a study file; on the CPU, where the plain scripts train."""
    document = {
        "name": NAME,
        "task": {"name": task, **settings},
        "optimizer": optimizer,
        "space": space,
        "search": dict(search),
        "storage": storage,
        "device": "cpu",
    } | ({"workers": workers, "cpus": 1} if workers > 1 else {})
    return json.dumps(document, indent=1)  # JSON is YAML
