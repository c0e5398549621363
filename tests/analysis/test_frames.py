from __future__ import annotations

from dataclasses import replace
from math import inf, isnan
from typing import Any

import pandas as pd
import pytest

from adamtune.analysis.frames import confirmation_frame, curve_frame, importance_frame, trial_frame
from adamtune.analysis.ranking import rank
from adamtune.storage.records import TrialRecord

from ..reports.records import SETTINGS, mixed, study, trial


def frame(*trials: TrialRecord) -> pd.DataFrame:
    return trial_frame(rank(study(*trials)))


def with_settings(number: int, **settings: Any) -> TrialRecord:
    return trial(number, settings=SETTINGS | settings)


def test_columns_in_order() -> None:
    assert list(trial_frame(rank(mixed()))) == [
        *("rank", "number", "state", "value", "seeds"),
        *SETTINGS,
        *("val_accuracy", "val_loss", "steps", "seconds", "diverged_at"),
    ]


def test_dtypes() -> None:
    dtypes = trial_frame(rank(mixed())).dtypes.astype(str).to_dict()
    integers = ("rank", "number", "steps", "diverged_at")
    categories = ("state", "optimizer", "schedule")
    assert {name: dtypes[name] for name in integers} == dict.fromkeys(integers, "Int64")
    assert {name: dtypes[name] for name in categories} == dict.fromkeys(categories, "category")
    assert (dtypes["amsgrad"], dtypes["seeds"]) == ("boolean", "object")
    others = dtypes.keys() - {*integers, *categories, "amsgrad", "seeds"}
    assert {dtypes[name] for name in others} == {"float64"}


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ((True, None), "boolean"),
        ((32, None), "Int64"),
        ((0.5, None), "float64"),
        ((0, 0.5), "float64"),
        (("relu", None), "string"),
        (([16, 32], None), "object"),
        (("auto", 32), "object"),
        ((None, None), "object"),
    ],
)
def test_dtype_of_a_setting_follows_its_values(values: tuple[Any, Any], dtype: str) -> None:
    column = frame(with_settings(0, width=values[0]), with_settings(1, width=values[1]))["width"]
    assert str(column.dtype) == dtype
    assert [None if missing else value for value, missing in zip(column, column.isna(), strict=True)] == [
        *values
    ]


def test_values_follow_the_ranking() -> None:
    found = trial_frame(rank(mixed()))
    assert found["number"].tolist() == [2, 6, 0, 1, 3, 4, 5]
    assert found["rank"].isna().tolist() == [False] * 3 + [True] * 4
    assert found["lr"].tolist()[:4] == [0.00308, 0.00308, 2.5e-5, 0.09]
    assert found["seeds"][0] == [0.0561]
    assert isnan(found["value"][3])
    assert found["diverged_at"][3] == 24
    assert found["diverged_at"].count() == 1


def test_setting_of_one_optimizer_is_missing_in_the_others() -> None:
    momentum = frame(with_settings(0, momentum=0.9), trial(1))["momentum"]
    assert momentum[0] == 0.9
    assert isnan(momentum[1])


def test_names_do_not_clash() -> None:
    clashing = trial(0, 0.5, settings={"steps": 300, "lr": 0.1}, metrics={"value": 1.0, "lr": 2.0}, steps=200)
    row = frame(clashing).iloc[0]
    assert (row["steps"], row["params.steps"]) == (200, 300)
    assert (row["value"], row["metrics.value"]) == (0.5, 1.0)
    assert (row["lr"], row["metrics.lr"]) == (0.1, 2.0)


def test_chosen_rows_alone() -> None:
    ranking = rank(mixed())
    assert trial_frame(ranking, ranking.rows[:2])["number"].tolist() == [2, 6]


def test_study_without_trials() -> None:
    assert len(frame()) == 0
    assert list(curve_frame(rank(study()))) == ["trial", "step", "value"]


def test_curves_one_row_an_evaluation() -> None:
    curves = curve_frame(
        rank(study(trial(3, 0.5, intermediate={10: 1.0, 20: 0.5}), trial(1, 0.25, intermediate={10: inf})))
    )
    assert curves.to_dict("list") == {"trial": [1, 3, 3], "step": [10, 10, 20], "value": [inf, 1.0, 0.5]}
    assert curves.dtypes.astype(str).tolist() == ["int64", "int64", "float64"]
    assert curves.groupby("trial")["value"].min().to_dict() == {1: inf, 3: 0.5}


def test_the_frame_of_a_confirmation_has_every_fresh_training() -> None:
    plan = {"finalists": 2, "seeds": 1, "looks": [2], "bounds": [2.5], "futility": []}
    results: dict[str, Any] = {
        "0": {"0": {"val_loss": 0.5, "test.0/loss": 9.0}},
        "1": {"0": {"val_loss": 0.6}},
        "lr": {"0": {"val_loss": 0.9}, "1": {"val_loss": 0.8}},
        "lr 0": {"0": {"val_loss": 0.9}},
        "lr 1": {"0": {"val_loss": 0.8}},
        "winner": {"0": {"val_loss": 0.4, "test/loss": 0.3}, "1": {"diverged_at": 7}},
        "baseline": {"0": {"val_loss": 0.7}, "1": {"val_loss": 0.7}},
    }
    stored = {
        **{"plan": plan, "metric": "val_loss", "direction": "minimize", "trials": 2, "asked": "lr_only"},
        **{"finalists": [0, 1], "baseline": {}, "results": results, "lrs": [0.1, 0.01], "ablated": []},
    }
    ranking = rank(replace(study(trial(0, 0.5), trial(1, 0.6)), study={"search": {}}, confirmation=stored))
    frame = confirmation_frame(ranking)
    assert list(frame.columns) == ["side", "trial", "seed", "test_loss", "val_loss", "diverged_at", "failure"]
    rows = [tuple(None if pd.isna(each) else each for each in row) for row in frame.itertuples(index=False)]
    assert [row[:3] for row in rows] == [
        *(("finalist", 0, 0), ("finalist", 1, 0), ("lr 0.1", None, None), ("lr 0.01", None, None)),
        *(("lr 0.1", None, 0), ("lr 0.01", None, 0), ("candidate", 0, 0), ("candidate", 0, 1)),
        *(("baseline", None, 0), ("baseline", None, 1)),
    ]
    assert rows[6][3:] == (0.3, 0.4, None, None)
    assert rows[7][3:] == (None, None, 7, None)


def test_frames_of_a_study_without_confirmation_are_empty() -> None:
    assert confirmation_frame(rank(mixed())).empty
    frame = importance_frame(rank(mixed()))
    assert frame.empty
    assert list(frame.dtypes.astype(str)) == ["string", "float64", "float64", "float64", "float64"]
