"""``validate``, ``schema`` and ``tasks``."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
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
  one_minus_beta1  0.02 to 0.5, log (beta1 0.98 to 0.5) (adamw)
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
notes:
  8 trials are few for 5 settings: with less than 10, search the learning rate alone.
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


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("one_minus_beta2: 0.001", "one_minus_beta2  0.001 (beta2 0.999)"),
        ("one_minus_beta2: [0.1, 1e-12]", "one_minus_beta2  0.1, 1e-12 (beta2 0.9, 0.999999999999)"),
        ("one_minus_beta2: {low: 1e-4, high: 1}", "one_minus_beta2  1e-4 to 1 (beta2 0.9999 to 0)"),
        ("beta2: {low: 0.9, high: 0.999}", "beta2            0.9 to 0.999"),
    ],
)
def test_a_complement_is_shown_as_trained_too(
    adamtune: Adamtune, tmp_path: Path, written: str, shown: str
) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(f"name: x\ntask: mlp\nspace:\n  one_minus_beta1: 0.1\n  {written}\n")
    lines = adamtune("validate", path).out.splitlines()
    assert shown.split() in [line.split() for line in lines]


LR_NOTE = "lr: two values; for a range write {low: 1e-5, high: 0.1, log: true}"


@pytest.mark.parametrize(
    ("lines", "notes"),
    [
        ("space: {lr: [1e-5, 1e-1]}", [LR_NOTE]),
        ("space: {lr: [0.1, 0.00001]}", [LR_NOTE]),
        ("space: {lr: [1, 10]}", ["lr: two values; for a range write {low: 1, high: 10, log: true}"]),
        ("space: {lr: [1, 9.9]}", []),
        ("space: {lr: [1, 10, 100]}", []),
        ("space: {eps: [0, 1]}", ["eps: two values; for a range write {low: 0, high: 1}"]),
        (
            "space: {schedule: {warmup_fraction: [0.01, 0.2]}}",
            ["warmup_fraction: two values; for a range write {low: 0.01, high: 0.2, log: true}"],
        ),
        ("space: {schedule: {name: step, drops: [1, 100]}}", []),
        ("space: {amsgrad: [false, true]}", []),
        ("space: {task: {epochs: [1, 100], hidden: [[1], [100]]}}", []),
        ("space: {lr: [1e-5, 1e-1]}\nsearch: {sampler: grid}", []),
        ("optimizer: [adam, sgd]", []),
    ],
)
def test_a_list_that_may_be_meant_as_a_range(
    adamtune: Adamtune, tmp_path: Path, lines: str, notes: list[str]
) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(f"name: x\ntask: mlp\n{lines}\n")
    code, out, err = adamtune("validate", path)
    _, _, shown = out.partition("notes:\n")
    others = "combinations", "trials are few"
    about_lists = [each for each in shown.splitlines() if not any(words in each for words in others)]
    assert (code, err, about_lists) == (0, "", [f"  {each}" for each in notes])


PROBLEMS = """\
5 problems in FILE:
FILE:2: task.name: unknown task 'cmn'; did you mean 'cnn'? allowed: mlp, cnn, transformer, a file such \
as churn.py, a module such as package.module
  2 | task: {name: cmn}
    |        ^
FILE:4: space.eps: found -1; allowed: [0, inf)
FILE:4: space.lr.low: found 1; allowed: less than high, which is 0.1
  4 | space: {eps: -1, lr: {low: 1, high: 0.1}}
    |         ^             ^
FILE:12: search.trials: found 0; allowed: integer in [1, 1000000]
FILE:12: search.seed: found -1; allowed: integer in [0, 4294967295]
  12 | search: {trials: 0, seed: -1} # no
     |          ^          ^
"""


def test_the_problems_of_a_line_stand_above_it(adamtune: Adamtune, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    search = "\n" * 7 + "search: {trials: 0, seed: -1} #\tno\n"
    path.write_text(
        f"name: x\ntask: {{name: cmn}}\n\nspace: {{eps: -1, lr: {{low: 1, high: 0.1}}}}\n{search}"
    )
    assert adamtune("validate", path) == (2, "", PROBLEMS.replace("FILE", str(path)))


def test_problems_of_options_come_before_those_of_the_file(adamtune: Adamtune, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("name: x\ntask: mlp\nsarch: 1\n")
    code, out, err = adamtune("search", path, "--trials", "0", "--seed", "x")
    assert (code, out) == (2, "")
    assert err.splitlines()[:4] == [
        "--trials: found 0; allowed: integer in [1, 1000000]",
        "--seed: found 'x'; allowed: integer in [0, 4294967295]",
        f"1 problem in {path}:",
        f"{path}:3: sarch: unknown key 'sarch'; did you mean 'search'? allowed: name, storage, engine, "
        "population, device, workers, cluster, cpus, gpus, deterministic, precision, weight_decay_on, "
        "accumulate, task, optimizer, space, search, objective, baseline",
    ]


def test_a_long_line_is_cut_around_the_problem(adamtune: Adamtune, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(f"{{name: x, task: mlp, {' ' * 200}space: {{lr: 0}}, {' ' * 200}}}")
    line, carets = adamtune("validate", path).err.splitlines()[-2:]
    assert line[carets.index("^") :].startswith("lr: 0}")
    assert line.startswith("  1 | ...")
    assert line.endswith("...")
    assert len(line) < 115


def test_lines_are_counted_as_yaml_counts_them(adamtune: Adamtune, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes("name: x\r\ntask: mlp\u2028space: {lr: 0}\r".encode())
    err = adamtune("validate", path).err
    assert f"{path}:3: space.lr: " in err
    assert "  3 | space: {lr: 0}\n" in err


def test_files_that_are_no_study_files(adamtune: Adamtune, tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "file").write_text("name: x\n")
    for path, reason in {
        tmp_path: "cannot be read: Is a directory; give a study file",
        tmp_path / "loop.yaml": "cannot be read: Too many levels of symbolic links; give a study file",
        tmp_path / "pipe.yaml": "cannot be read: it is a named pipe; give a study file",
        tmp_path / "file" / "x": "cannot be read: Not a directory; give a study file",
        Path("~nobody/none.yaml"): "no such file; give the path of a study file",
        Path("/dev/zero"): "cannot be read: it has more than 1000000 bytes; give a study file",
        tmp_path / ("x" * 300): "cannot be read: File name too long; give a study file",
    }.items():
        assert adamtune("validate", path) == (2, "", f"{path}: {reason}\n")


def test_a_name_of_undecodable_bytes(adamtune: Adamtune, tmp_path: Path) -> None:
    message = "this argument is not UTF-8 text. Rename the file or study to UTF-8."
    path = tmp_path / "study.yaml"
    path.write_text("name: x\ntask: mlp\n")
    assert adamtune("validate", "\udce4.yaml") == (2, "", f"'\\udce4.yaml': {message}\n")
    for option in ("--name", "--storage", "--trials", "--timeout"):
        assert adamtune("search", path, option, "\udce4") == (2, "", f"'\\udce4': {message}\n")


def test_a_shell_may_pipe_a_study(tmp_path: Path) -> None:
    script = f"echo '{{name: x, task: mlp}}' | {sys.executable} -m adamtune validate /dev/stdin"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("study      x, kept in runs/adamtune.db\n")


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
        assert words == ["setting", *task.fields, "metric", *task.metrics]
    told = " ".join(out.split())
    assert " hidden [64, 64] width of each hidden layer " in told
    assert " val_accuracy maximize " in told
