"""A study from Python: what it says is what the report says, and what there is not is said."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import adamtune
from adamtune.analysis.frames import curve_frame, trial_frame
from adamtune.analysis.ranking import Ranking, rank
from adamtune.analysis.verdict import Verdict
from adamtune.api.plots import Plots
from adamtune.cli.main import run
from adamtune.errors import UsageError
from adamtune.reports import charts
from adamtune.storage.studies import read_study

from ..reports import records
from .test_search import LR, TASK, study


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two studies, one of which is better than its baseline."""
    path = str(tmp_path_factory.mktemp("api") / "studies.db")
    adamtune.search(study(search={"trials": 2}), storage=path, progress=False)
    confirmed = {
        "name": "confirmed",
        "task": TASK | {"dataset": "friedman1", "epochs": 2, "batch_size": 32},
        "space": {"lr": LR, "beta1": {"low": 0.8, "high": 0.95}},
        "search": {"trials": 12, "confirm": "small"},
    }
    adamtune.search(confirmed, storage=path, progress=False)
    return path


@pytest.fixture
def confirmed(storage: str) -> adamtune.Study:
    return adamtune.load("confirmed", storage)


def test_it_has_the_numbers_of_the_report(
    confirmed: adamtune.Study, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["report", "confirmed", "--storage", confirmed.storage, "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    verdict, best = confirmed.verdict, confirmed.best
    assert verdict is not None
    assert best is not None
    assert verdict.sentence == report["verdict"]["sentence"]
    assert (verdict.outcome, best.is_baseline) == ("better", False)
    assert best.trial == report["verdict"]["candidate"]["trial"]
    (trial,) = (each for each in report["trials"] if each["number"] == best.trial)
    assert (best.value, best.settings, best.metrics) == (trial["value"], trial["params"], trial["metrics"])
    assert confirmed.counts == report["counts"]
    assert list(confirmed.trials["number"]) == [each["number"] for each in report["trials"]]


def test_frames_are_those_of_the_ranking(confirmed: adamtune.Study) -> None:
    ranking = rank(read_study(confirmed.storage, confirmed.name))
    pd.testing.assert_frame_equal(confirmed.trials, trial_frame(ranking))
    pd.testing.assert_frame_equal(confirmed.curves, curve_frame(ranking))
    assert len(confirmed.curves) == 12 * 10


def test_frames_of_the_verdict_and_the_importance(confirmed: adamtune.Study) -> None:
    verdict, found = confirmed.verdict, confirmed.confirmation
    assert verdict is not None
    assert verdict.candidate is not None
    assert list(found[found["side"] == "candidate"]["val_loss"]) == list(verdict.candidate.values)
    assert list(confirmed.importance["setting"]) == [each.setting for each in confirmed.ranking.importance]


CHARTS = ("slices", "curves", "best_so_far", "importance", "betas", "schedule", "parallel")


@pytest.mark.parametrize("name", CHARTS)
def test_charts_are_those_of_the_report(confirmed: adamtune.Study, name: str) -> None:
    chart = getattr(confirmed.plot, name)()
    expected = getattr(charts, name)(confirmed.ranking)
    assert without_names(chart.to_json()) == without_names(expected.to_json())


def without_names(chart: str) -> str:
    """A chart without the numbers by which Altair tells the views and parameters of one process apart."""
    return re.sub(r"(view|param)_\d+", "", chart)


def test_there_is_a_plot_for_every_chart() -> None:
    assert {each for each in dir(Plots) if not each.startswith("_")} == {*CHARTS}
    assert {*CHARTS} <= {*charts.__all__}


def test_code_is_that_of_the_report(confirmed: adamtune.Study, capsys: pytest.CaptureFixture[str]) -> None:
    code = confirmed.settings_code()
    assert run(["report", "confirmed", "--storage", confirmed.storage]) == 0
    assert code in capsys.readouterr().out
    compile(code, "code", "exec")
    assert "optimizer = torch.optim.AdamW(" in code


def test_optuna_has_the_same_trials(confirmed: adamtune.Study) -> None:
    found = confirmed.to_optuna()
    first = confirmed.trials.iloc[0]
    assert (found.study_name, len(found.trials)) == ("confirmed", 12)
    assert (found.best_trial.number, found.best_value) == (first["number"], first["value"])


def with_verdict(ranking: Ranking, **changed: Any) -> Ranking:
    """The ranking with another verdict of its study."""
    verdict = ranking.verdict
    assert verdict is not None
    own = Ranking(ranking.study, ranking.counts, ranking.rows, ranking.searched)
    own.__dict__["verdict"] = replace(verdict, **changed)
    return own


@pytest.mark.parametrize("outcome", ["worse", "no_difference"])
def test_the_baseline_is_recommended_where_the_verdict_says_so(
    confirmed: adamtune.Study, outcome: str
) -> None:
    study = adamtune.Study("confirmed", confirmed.storage)
    study.ranking = with_verdict(confirmed.ranking, outcome=outcome)
    best, baseline = study.best, study.ranking.verdict.baseline  # type: ignore[union-attr]
    assert best is not None
    assert baseline is not None
    assert (best.is_baseline, best.trial, best.settings) == (True, baseline.trial, baseline.settings)
    assert best.value is not None


def test_the_latest_study_is_loaded_by_default(storage: str) -> None:
    assert adamtune.load(storage=storage).name == "confirmed"


def test_every_study_is_listed(storage: str) -> None:
    found = adamtune.studies(Path(storage))
    assert [each.name for each in found] == ["s", "confirmed"]
    assert [len(each.trials) for each in found] == [2, 12]
    assert repr(found[0]).startswith(f"<Study s in {storage}: 2 complete; best val_loss ")


def test_an_unknown_study_or_storage_is_said(storage: str) -> None:
    with pytest.raises(UsageError, match=r"no study confirme\. Did you mean confirmed.* there: s, confirmed"):
        adamtune.load("confirme", storage)
    with pytest.raises(UsageError, match=r"none\.db: there is no such file"):
        adamtune.load("s", "none.db")
    with pytest.raises(UsageError, match=r"none\.db: there is no such file"):
        adamtune.studies("none.db")
    with pytest.raises(UsageError, match=r"none\.db: there is no such file"):
        adamtune.Study("s", "none.db").to_optuna()
    assert not Path("none.db").exists()


def test_html_has_the_verdict_ten_trials_and_the_code(confirmed: adamtune.Study) -> None:
    page, verdict = confirmed._repr_html_(), confirmed.verdict
    assert verdict is not None
    assert escape(verdict.sentence) in page
    assert page.count("<tr>") == 1 + 10 + 1  # the names of the columns, ten trials, the baseline
    assert escape(confirmed.settings_code()) in page


def test_html_escapes_everything() -> None:
    """Names of studies and metrics of other programs, and settings, may have any characters."""
    evil = "<script>alert(1)</script>"
    odd = replace(records.trial(0, 0.5), settings={evil: evil}, params={evil: evil})
    own = adamtune.Study("x", "y")
    own.ranking = rank(replace(records.study(odd), name=evil, metric=evil))
    own.ranking.__dict__["verdict"] = Verdict("not_confirmed", evil, f"Sentence of {evil}")
    page = own._repr_html_()
    assert "<script" not in page
    assert "Sentence of &lt;script&gt;" in page
    assert page.count("&lt;script&gt;") >= 4


def test_a_study_without_a_complete_trial() -> None:
    own = adamtune.Study("x", "y")
    own.ranking = rank(records.study(records.trial(0, state="failed")))
    assert (own.best, own.verdict, own.settings_code()) == (None, None, "")
    assert "<pre>" not in own._repr_html_()
    assert repr(own) == "<Study x in y: 1 failed>"
