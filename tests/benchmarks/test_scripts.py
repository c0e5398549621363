"""Every script runs from the command line, at tiny sizes."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from adamtune.config import load_study, parse_study
from benchmarks.fresh_seeds import SPACE
from benchmarks.processes import ROOT, python
from benchmarks.studies import study_file

SCRIPTS = (
    *("throughput", "time_to_target", "reach", "scaling", "gpu", "divergence", "fresh_seeds"),
    *("verdicts", "importances", "claims", "verdict_studies", "confirmation", "kills", "reports", "exports"),
)


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a script in this process, which has imported torch; what it prints."""

    def run(script: str, *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        monkeypatch.delitem(sys.modules, f"benchmarks.{script}", raising=False)
        runpy.run_module(f"benchmarks.{script}", run_name="__main__")
        return capsys.readouterr().out

    return run


def table_rows(printed: str) -> list[list[str]]:
    """The cells of every table, headers and rules left out."""
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    rules = [place for place, line in enumerate(lines) if set(line) <= set("|-: ")]
    headers = {place - 1 for place in rules}
    kept = (line for place, line in enumerate(lines) if place not in headers | set(rules))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in kept]


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_says_how_to_run_it(
    script: str, printed: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        printed(script, "--help")
    assert ended.value.code in (None, 0)
    assert f"python -m benchmarks.{script}" in capsys.readouterr().out


def test_a_script_that_fails_says_what_failed() -> None:
    with pytest.raises(SystemExit, match=r"(?s)benchmarks.gpu oops failed with code 2.*invalid choice"):
        python("benchmarks.gpu", "oops")


@pytest.mark.slow
def test_throughput() -> None:
    small = ("mlp", "--settings", '{"epochs": 1}', "--trials", 4, "--rounds", 1, "--seconds", 0.1)
    end_to_end, *steady = table_rows(python("benchmarks.throughput", *small).stdout)
    assert end_to_end[:2] == ["mlp", "4"]
    ours, plain, times = map(float, end_to_end[2:5])
    assert times == pytest.approx(ours / plain, rel=0.02)
    assert [row[0] for row in steady] == ["mlp", "mlp, friedman1, batch 64"]
    for row in steady:
        ours, plain, times = map(float, row[2:5])
        assert times == pytest.approx(plain / ours, rel=0.02)


@pytest.mark.parametrize(
    "problem",
    [
        "diabetes",
        *(pytest.param(f"{each}, 10 epochs", marks=pytest.mark.slow) for each in ("digits", "curves")),
    ],
)
def test_fresh_seeds(problem: str, printed: Callable[..., str]) -> None:
    small = ("--trials", 2, "--searches", 2, "--seeds", 3)
    (row,) = table_rows(printed("fresh_seeds", problem, *small))
    default, sd = map(float, row[2:4])
    for fresh, gap, wins in zip(*(row[column].split(", ") for column in (5, 6, 7)), strict=True):
        assert float(gap) == pytest.approx((default - float(fresh)) / sd, rel=0.1, abs=0.3)
        assert 0 <= int(wins) <= 3


def test_fresh_seeds_searches_the_space_of_the_quickstart() -> None:
    quickstart = load_study(ROOT / "configs" / "quickstart.yaml")
    written = study_file("mlp", {}, {}, space=SPACE)
    assert parse_study(written, "x.yaml").space == quickstart.space


@pytest.mark.slow
def test_time_to_target() -> None:
    small = ("mlp", "--settings", '{"epochs": 1}', "--trials", 4, "--seeds", 1, "--pruners", "none", "median")
    printed = python("benchmarks.time_to_target", *small).stdout
    rows = table_rows(printed)
    assert [row[:2] for row in rows] == [
        ["adamtune", "none"],
        ["adamtune", "median"],
        ["plain", "none"],
        ["plain", "median"],
    ]
    seconds = [float(row[2]) for row in rows]
    assert 0 < seconds[2] < 100  # the target is the best of this very run, so it is reached
    assert "times sooner" in printed


@pytest.mark.slow
@pytest.mark.parametrize(("target", "trials"), [(1e9, {1, 2}), (-1.0, {8})])
def test_reach_stops_at_the_target_or_extends_the_study(
    tmp_path: Path, target: float, trials: set[int]
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(study_file("mlp", {"epochs": 1}, {"trials": 2}, storage=str(tmp_path / "reach.db")))
    figures = json.loads(python("benchmarks.reach", file, "--target", target, "--at-most", 8).stdout)
    assert figures["trials"] in trials
    assert (figures["target_seconds"] is not None) == (target > 0)


@pytest.mark.slow
def test_scaling() -> None:
    small = ("mlp", "--sizes", 1, "--populations", 1, 4, "--seconds", 0.05)
    (row,) = table_rows(python("benchmarks.scaling", *small).stdout)
    assert row[0].endswith("hidden [32, 32]")
    costs = dict(zip(("1", "4"), map(float, row[5:7]), strict=True))
    assert row[7] == min(costs, key=lambda members: costs[members])
    assert float(row[3]) == pytest.approx(
        3 * 2 * 32 * (10 * 32 + 32 * 32 + 32) / float(row[2]) / 1e3, rel=0.2
    )


@pytest.mark.slow
def test_divergence() -> None:
    small = ("--epochs", 1, "--trials", 12, "--last", 6, "--seeds", 1, "--samplers", "tpe", "random")
    printed = python("benchmarks.divergence", *small).stdout
    assert "60 values of lr" in printed
    assert [row[0] for row in table_rows(printed)] == ["tpe", "random"]


def test_verdicts() -> None:
    rows = table_rows(python("benchmarks.verdicts", "--studies", 3).stdout)
    settings = {row[0]: row for row in rows if row[1] == "full"}
    assert settings["as trained"][2] == settings["1 sd"][2] == "0"  # every setting of 1 sd is better
    assert [row[:2] for row in rows[-3:]] == [["full", "0.682"], ["small", "1"], ["20 trainings", "1.03"]]


@pytest.mark.slow
def test_verdict_studies() -> None:
    printed = python("benchmarks.verdict_studies", "--studies", 2, "--kinds", "no difference", "lr").stdout
    rows = {(kind, rows): figures for kind, rows, *figures in table_rows(printed) if "sd" not in kind}
    kinds = [(kind, rows) for kind in ("no difference", "lr") for rows in ("validation", "new")]
    assert list(rows) == kinds
    for figures in rows.values():  # studies, pairs, better, worse, wrong
        assert (figures[0], figures[4]) == ("1", "0")
    for kind in kinds[2:]:
        assert rows[kind][2] == "1"  # the baseline's lr is far too low


@pytest.mark.slow
def test_the_clip_norm_of_verdict_studies_never_acts() -> None:
    (row,) = table_rows(python("benchmarks.verdict_studies", "--studies", 1, "--kinds", "identical").stdout)
    assert row[2:8] == ["1", "1", "0", "0", "0", "1"]


@pytest.mark.slow
def test_confirmation() -> None:
    small = ("mlp", "--settings", '{"epochs": 1}', "--trials", 6, "--plans", "small")
    (row,) = table_rows(python("benchmarks.confirmation", *small).stdout)
    assert row[:2] == ["mlp", "small"]
    assert 18 <= int(row[3]) <= 30
    assert float(row[7]) == pytest.approx(100 * float(row[5]) / float(row[4]), rel=0.02)


@pytest.mark.slow
def test_kills() -> None:
    rows = table_rows(python("benchmarks.kills", "--kills", 2, "--tasks", "own").stdout)
    assert [row[:2] for row in rows] == [["own", "population"], ["own", "sequential"]]
    assert sum(int(kills) for row in rows for kills in row[3:7]) == 2
    assert [row[7] for row in rows] == ["0", "0"]


@pytest.mark.slow
def test_importances() -> None:
    rows = table_rows(python("benchmarks.importances", "--searches", 2, "--trials", 32).stdout)
    assert [row[:3] for row in rows[:2]] == [["random", "32", "noise"], ["random", "32", "valley of lr"]]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_says_when_there_is_none(printed: Callable[..., str]) -> None:
    assert "no CUDA device" in printed("gpu")


@pytest.mark.gpu
def test_gpu() -> None:
    small = ("mlp", "--settings", '{"epochs": 1}', "--rounds", 1, "--seconds", 0.1, "--population", 8)
    (row,) = table_rows(python("benchmarks.gpu", *small).stdout)
    assert row[:2] == ["mlp", "8"]
