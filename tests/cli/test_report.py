from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from .conftest import Ended, trial

Adamtune = Callable[..., Ended]

TABLE = """\
digits-cnn: val_loss, lowest first

rank  trial     value       lr  steps  seconds  curve
   1      2   0.05610  0.00308    230     0.31  ▅▂▂▁▁
   2      0    0.2100     0.01    230     0.31  █▆▅▅▄
   -      1  diverged     0.09     46     0.31  █
curve: val_loss from ▁ 0.0996 to █ 0.427 or more

2 complete, 1 pruned, 1 diverged (1 not shown)

Not confirmed: 4 trainings are confirmed only where search.confirm says so
(small or full).

Best: trial 2, val_loss 0.05610

import torch

optimizer = torch.optim.AdamW(
    model.parameters(),
    lr=0.00308,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=0.01,
    amsgrad=False,
)

more trials:  adamtune resume digits-cnn --trials 8 --storage STORAGE
all trials:   adamtune report digits-cnn --top 4 --storage STORAGE
as JSON:      adamtune report digits-cnn --format json --storage STORAGE
"""


def test_table(adamtune: Adamtune, storage: Path) -> None:
    code, out, err = adamtune("report", "digits-cnn", "--top", 3, "--storage", storage)
    assert (code, err) == (0, "")
    assert out.replace(str(storage), "STORAGE") == TABLE


def test_latest_study_is_the_default(adamtune: Adamtune, storage: Path) -> None:
    assert adamtune("report", "--storage", storage).out.startswith("digits-cnn: val_loss")


def test_json_alone_on_stdout(adamtune: Adamtune, storage: Path) -> None:
    code, out, err = adamtune("report", "digits-cnn", "--format", "json", "--storage", storage)
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert report["counts"] == {"complete": 2, "pruned": 1, "diverged": 1, "failed": 0, "running": 0}
    assert [each["number"] for each in report["trials"]] == [2, 0, 1, 3]
    assert report["trials"][0]["intermediate"]["230"] == pytest.approx(0.0561 + 10 / 230)
    assert report["trials"][2]["value"] is None
    assert report["trials"][2]["diverged_at"] == 24


def test_only_the_table_of_a_report_ends_with_a_plot(adamtune: Adamtune, storage: Path) -> None:
    study = optuna.load_study(study_name="digits-cnn", storage=f"sqlite:///{storage}")
    for lr in (1e-4, 3e-4, 1e-3, 2e-3, 4e-3, 2e-2):
        study.add_trial(trial(TrialState.COMPLETE, lr, 0.3))
    forms = ("table", "json", "csv", "markdown")
    printed = {form: adamtune("report", "--format", form, "--storage", storage).out for form in forms}
    title = "val_loss against lr, 8 complete trials:"
    assert [form for form, text in printed.items() if title in text] == ["table"]
    *_, plot, hints = printed["table"].split("\n\n")
    assert plot.startswith(title)
    assert "\n   diverged │" in plot
    assert "\n     pruned │x" in plot
    assert hints.startswith("more trials:")


@pytest.mark.parametrize("form", ["json", "csv", "markdown", "table"])
def test_output_has_what_stdout_would_have(
    adamtune: Adamtune, storage: Path, tmp_path: Path, form: str
) -> None:
    arguments = ("report", "digits-cnn", "--format", form, "--storage", storage)
    written = tmp_path / "report"
    assert adamtune(*arguments, "--output", written) == (0, "", "")
    assert written.read_text(encoding="utf-8") == adamtune(*arguments).out


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("r.json", "json"),
        ("r.JSON", "json"),
        ("r.csv", "csv"),
        ("R.MD", "markdown"),
        ("r.txt", "table"),
        ("report", "table"),
    ],
)
def test_suffix_chooses_the_format(
    adamtune: Adamtune, storage: Path, tmp_path: Path, name: str, form: str
) -> None:
    assert adamtune("report", "--storage", storage, "--output", tmp_path / name) == (0, "", "")
    expected = adamtune("report", "--storage", storage, "--format", form).out
    assert (tmp_path / name).read_text(encoding="utf-8") == expected


@pytest.mark.parametrize("name", ["r.json", "r.xlsx"])
def test_format_wins_over_the_suffix(adamtune: Adamtune, storage: Path, tmp_path: Path, name: str) -> None:
    written = tmp_path / name
    assert adamtune("report", "--storage", storage, "--format", "csv", "--output", written).code == 0
    assert written.read_text().startswith("rank,number,state,value,")


def test_unknown_suffix_names_the_known_ones(adamtune: Adamtune, storage: Path, tmp_path: Path) -> None:
    written = tmp_path / "r.xlsx"
    code, out, err = adamtune("report", "--storage", storage, "--output", written)
    assert (code, out) == (2, "")
    assert err == (
        f"--output {written}: no format has the suffix .xlsx. Use one of .json, .csv, .md, .markdown, .html,"
        " .htm, .txt, or choose with --format table|json|csv|markdown|html.\n"
    )
    assert not written.exists()


def test_top_of_a_csv(adamtune: Adamtune, storage: Path) -> None:
    out = adamtune("report", "digits-cnn", "--format", "csv", "--top", 1, "--storage", storage).out
    (row,) = csv.DictReader(io.StringIO(out))
    assert (row["rank"], row["number"], row["lr"]) == ("1", "2", "0.00308")


def test_study_without_trials(adamtune: Adamtune, storage: Path) -> None:
    code, out, _ = adamtune("report", "empty", "--storage", storage)
    assert code == 0
    assert out.startswith("empty: value, highest first\n")
    assert "No trial is complete yet" in out


def test_unknown_study_names_the_nearest(adamtune: Adamtune, storage: Path) -> None:
    code, out, err = adamtune("report", "digit-cnn", "--storage", storage)
    assert (code, out) == (2, "")
    assert "no study digit-cnn" in err
    assert "digits-cnn" in err


def test_no_storage_yet(adamtune: Adamtune, tmp_path: Path) -> None:
    code, out, err = adamtune("report", "--storage", tmp_path / "none.db")
    assert (code, out) == (2, "")
    assert "adamtune search" in err
    assert not (tmp_path / "none.db").exists()


def test_output_that_cannot_be_written(adamtune: Adamtune, storage: Path, tmp_path: Path) -> None:
    code, _, err = adamtune("report", "--storage", storage, "--output", tmp_path / "none" / "report")
    assert code == 1
    assert "cannot write" in err
