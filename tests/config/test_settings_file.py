"""Settings files: what is written reads back as it was trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adamtune.config import parse_study
from adamtune.config.baseline import default_settings
from adamtune.config.settings_file import read_trained, settings_notation, task_name
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.schedules.registry import SCHEDULES

STUDY = parse_study("name: s\ntask: mlp\n", "study.yaml")


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [*((each, "constant") for each in OPTIMIZERS), *(("adamw", each) for each in SCHEDULES)],
)
def test_settings_read_back_to_the_last_bit(tmp_path: Path, optimizer: str, schedule: str) -> None:
    settings = default_settings(optimizer, schedule) | {"lr": 0.1 + 0.2, "clip_norm": 1 / 3}
    if "beta1" in settings:
        settings["beta1"] = 1 - 0.1234567891234567
    path = tmp_path / "accepted.json"
    path.write_text(json.dumps({"settings": settings_notation(settings), "task": {"name": "mlp"}}))
    found = read_trained(path, STUDY)
    assert found.settings == settings
    assert found.task == STUDY.canonical()["task"]["settings"]


def test_keys_of_later_versions_decide_nothing(tmp_path: Path) -> None:
    path = tmp_path / "accepted.json"
    text = {"settings": {"optimizer": "adam"}, "task": {"name": "mlp", "epochs": 3}, "new": 1}
    path.write_text(json.dumps(text))
    found = read_trained(path, STUDY)
    assert found.settings == default_settings("adam")
    assert found.task["epochs"] == 3


def test_a_task_is_named_without_its_folder() -> None:
    assert task_name("/a/b/churn.py:Churn") == "churn.py:Churn"
    assert task_name("package.module:Churn") == "package.module:Churn"
