"""``validate``, ``schema`` and ``tasks``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from adamtune.config import schema
from adamtune.tasks.registry import TASKS

from .conftest import Ended

Adamtune = Callable[..., Ended]

STUDY = """\
name: digits-cnn
task: {name: cnn, epochs: 3}
optimizer: [adamw, sgd]
space:
  lr: {low: 1e-5, high: 1e-1, log: true}
  one_minus_beta1: {low: 0.02, high: 0.5, log: true}
  schedule:
    name: [constant, cosine]
    warmup_fraction: {low: 0.0, high: 0.1}
search: {trials: 8, timeout: 30m}
"""

SUMMARY = """\
study      digits-cnn, kept in runs/adamtune.db
task       cnn
objective  minimize val_loss
search     8 trials, at most 30:00; sampler tpe, pruner none
seeds      1 for each trial, from seed 0
training   8 at a time on the CPU (2 threads)
searched (5):
  optimizer        adamw, sgd
  lr               1e-5 to 0.1, log
  one_minus_beta1  0.02 to 0.5, log (adamw)
  schedule         constant, cosine
  warmup_fraction  0 to 0.1
fixed:
  beta2           0.999 (adamw)
  eps             1e-8 (adamw)
  weight_decay    0.01 (adamw)
  amsgrad         false (adamw)
  momentum        0 (sgd)
  dampening       0 (sgd)
  nesterov        false (sgd)
  weight_decay    0 (sgd)
  final_fraction  0 (cosine)
  dataset         digits
  channels        16,32
  hidden          64
  batch_size      64
  epochs          3
"""


def test_summary_of_a_study(adamtune: Adamtune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY + "population: 8\ndevice: cpu\n")
    monkeypatch.setattr("adamtune.engines.plan.cores", lambda: 2)
    assert adamtune("validate", path) == (0, SUMMARY, "")


def test_what_auto_picks_is_said(adamtune: Adamtune, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    _, out, _ = adamtune("validate", path)
    assert re.search(r"^training +\d+ at a time on the CPU.*; another number on a GPU", out, re.MULTILINE)


def test_every_problem_on_its_line(adamtune: Adamtune, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("name: x\ntask: {name: cmn}\nspace:\n  lr: {low: 1, high: 0.1}\n")
    code, out, err = adamtune("validate", path)
    assert (code, out) == (2, "")
    lines = err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{path}:") for line in lines)
    assert "cnn" in lines[0]
    assert "lr" in lines[1]


def test_schema_is_the_one_of_the_configuration(adamtune: Adamtune) -> None:
    code, out, err = adamtune("schema")
    assert (code, err) == (0, "")
    assert json.loads(out) == schema()


def test_every_task_with_its_settings_and_metrics(adamtune: Adamtune) -> None:
    code, out, err = adamtune("tasks")
    assert (code, err) == (0, "")
    blocks = dict(zip(TASKS, out.split("\n\n"), strict=True))
    for name, task in TASKS.items():
        words = [line.split()[0] for line in blocks[name].splitlines()[1:]]
        assert words == ["setting", *task.settings.model_fields, "metric", *task.metrics]
    told = " ".join(out.split())
    assert " hidden [64, 64] width of each hidden layer " in told
    assert " val_accuracy maximize " in told
