from __future__ import annotations

import csv
import io
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamtune.analysis.ranking import rank
from adamtune.errors import AdamtuneError
from adamtune.reports.files import to_csv, to_json, to_markdown, write_atomically

from .records import SETTINGS, mixed, study, trial


def strict(text: str) -> Any:
    def reject(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=reject)


def test_json_is_the_documented_one() -> None:
    ranking = rank(
        study(trial(41, 0.0561), trial(7, state="diverged", diverged_at=24, intermediate={23: math.inf}))
    )
    report = strict(to_json(ranking, ranking.rows))
    best, diverged = report.pop("trials")
    assert report == {
        "study": "digits-cnn",
        "metric": "val_loss",
        "direction": "minimize",
        "counts": {"complete": 1, "pruned": 0, "diverged": 1, "failed": 0, "running": 0},
        "verdict": None,
        "baseline": None,
        "ablations": [],
        "advice": [],
    }
    assert best.pop("intermediate")["23"] == pytest.approx(0.9561)
    assert best == {
        "rank": 1,
        "number": 41,
        "state": "complete",
        "value": 0.0561,
        "seeds": [0.0561],
        "params": SETTINGS,
        "metrics": {"val_loss": 0.0561, "val_accuracy": 0.986},
        "steps": 230,
        "seconds": 0.31,
    }
    assert {name: diverged[name] for name in ("rank", "state", "value", "intermediate", "diverged_at")} == {
        "rank": None,
        "state": "diverged",
        "value": None,
        "intermediate": {"23": None},
        "diverged_at": 24,
    }


numbers = st.none() | st.floats()


@given(
    value=numbers,
    seeds=st.lists(st.floats()),
    metrics=st.dictionaries(st.text(), st.floats()),
    intermediate=st.dictionaries(st.integers(1, 10**6), st.floats()),
    lr=st.floats(),
    seconds=st.floats(),
)
def test_json_is_strict_and_loses_nothing(**fields: Any) -> None:
    ranking = rank(study(trial(0, **fields)))
    (read,) = strict(to_json(ranking, ranking.rows))["trials"]
    finite = {step: value if math.isfinite(value) else None for step, value in fields["intermediate"].items()}
    assert {int(step): value for step, value in read["intermediate"].items()} == finite
    assert read["params"]["lr"] == (fields["lr"] if math.isfinite(fields["lr"]) else None)


def test_json_of_no_trials() -> None:
    ranking = rank(study())
    assert strict(to_json(ranking, ranking.rows))["trials"] == []


def test_csv_reads_back_exactly() -> None:
    ranking = rank(mixed())
    rows = list(csv.DictReader(io.StringIO(to_csv(ranking, ranking.rows))))
    assert [row["rank"] for row in rows] == ["1", "2", "3", "", "", "", ""]
    assert [row["state"] for row in rows[3:]] == ["diverged", "pruned", "failed", "running"]
    assert {
        name: rows[0][name] for name in ("value", "seeds", "lr", "beta2", "amsgrad", "schedule", "val_loss")
    } == {
        "value": "0.0561",
        "seeds": "[0.0561]",
        "lr": "0.00308",
        "beta2": "0.99873",
        "amsgrad": "false",
        "schedule": "cosine",
        "val_loss": "0.0561",
    }
    assert [row["diverged_at"] for row in rows[:4]] == ["", "", "", "24"]


def test_csv_is_the_documented_one() -> None:
    ranking = rank(
        study(
            trial(0, 0.5, settings={"lr": 1e-8, "amsgrad": False, "hidden": [16, 32]}, metrics={"v": 0.5}),
            trial(1, math.inf, settings={"lr": 0.1, "momentum": 0.0}, metrics={}, seeds=[math.inf]),
            trial(2, state="diverged", settings={"lr": 1.0}, diverged_at=24),
        )
    )
    assert to_csv(ranking, ranking.rows).splitlines() == [
        "rank,number,state,value,seeds,lr,amsgrad,momentum,hidden,v,steps,seconds,diverged_at",
        '1,0,complete,0.5,[0.5],1e-08,false,,"[16, 32]",0.5,230,0.31,',
        "2,1,complete,,[null],0.1,,0.0,,,230,0.31,",
        ",2,diverged,,[],1.0,,,,,230,0.31,24",
    ]


def test_csv_of_no_trials() -> None:
    ranking = rank(study())
    assert to_csv(ranking, ranking.rows) == "rank,number,state,value,seeds,steps,seconds,diverged_at\n"


def test_csv_leaves_blank_what_is_no_number() -> None:
    ranking = rank(study(trial(0, 0.5, metrics={"val_loss": math.nan})))
    (row,) = csv.DictReader(io.StringIO(to_csv(ranking, ranking.rows)))
    assert row["val_loss"] == ""


def test_markdown() -> None:
    ranking = rank(
        study(trial(41, 0.0561, searched=("lr", "schedule")), trial(42, state="failed", searched=()))
    )
    assert to_markdown(ranking, ranking.rows) == (
        "| rank | trial | value | lr | schedule | steps | seconds | curve |\n"
        "| ---: | ---: | ---: | ---: | --- | ---: | ---: | --- |\n"
        "| 1 | 41 | 0.05610 | 0.00308 | cosine | 230 | 0.31 | ▄▃▂▂▁▁▁▁▁▁ |\n"
        "| - | 42 | failed | 0.00308 | cosine | 230 | 0.31 | █▆▅▅▅▅▅▅▅▅ |\n"
    )


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    path.write_text("old")
    write_atomically(path, "new\n")
    assert path.read_text() == "new\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_atomically(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "text"


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="needs a device file")
def test_a_device_is_written_not_replaced() -> None:
    write_atomically(Path("/dev/null"), "text")
    assert not Path("/dev/null").is_file()


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "report.csv"
    with pytest.raises(AdamtuneError, match=r"cannot write .*report\.csv: No such file"):
        write_atomically(path, "text")
    (tmp_path / "folder").mkdir()
    with pytest.raises(AdamtuneError, match="cannot write"):
        write_atomically(tmp_path / "folder", "text")
    assert os.listdir(tmp_path) == ["folder"]
