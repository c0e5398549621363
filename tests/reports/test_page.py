"""The page as a file: it is whole, whatever the study, and what a study says is escaped in it."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from math import nan

import pytest

from adamtune.analysis.ranking import rank
from adamtune.reports.page.page import to_html
from adamtune.storage.records import StudyRecord

from .records import ALL_SEARCHED, SEARCHED, mixed, study, trial

EVIL = "<img src=x onerror=alert(1)></script>"


def many(count: int = 40, direction: str = "minimize") -> StudyRecord:
    """A study of complete, pruned and diverged trials over a range of lr."""
    trials = []
    for number in range(count):
        lr, state = 1e-4 * 1.15**number, ("complete", "complete", "pruned", "diverged")[number % 4]
        value = 0.2 + (number - 20) ** 2 / 1000 if state == "complete" else None
        at = {"diverged_at": 40, "intermediate": {23: nan}} if state == "diverged" else {}
        trials.append(trial(number, value, state, searched=ALL_SEARCHED, lr=lr, **at))  # type: ignore[arg-type]
    return study(*trials, direction=direction)


STUDIES = {
    "mixed": mixed(),
    "many": many(),
    "maximized": many(direction="maximize"),
    "empty": study(),
    "all diverged": study(*(trial(n, state="diverged", lr=0.1 * n + 0.1) for n in range(3))),
    "one trial": study(trial(0, 0.5)),
    "choices alone": study(*(trial(n, 0.5, searched=("schedule",)) for n in range(3))),
    "nothing searched": study(trial(0, 0.5, searched=())),
    "no settings": study(trial(0, 0.5, settings={"a.b[0]": 1.5}, searched=())),
    "zero": study(trial(0, 0.0), trial(1, -1.0, lr=0.1), trial(2, 1e300, lr=0.01)),
}


def data_of(page: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return dict(json.loads(found[1]))


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_has_a_page(name: str) -> None:
    record = STUDIES[name]
    page = to_html(rank(record))
    data = data_of(page)
    table = data["table"]
    assert len(data["datasets"][table["data"]]) == len(record.trials)  # type: ignore[index]
    # Nothing is loaded: no address but names of XML in Vega itself.
    head = page[: page.index("<script>")]
    assert "http" not in head.replace("http-equiv", "")


def test_scripts_are_those_of_the_policy() -> None:
    page = to_html(rank(mixed()))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 2
    for each in scripts:
        assert b64encode(sha256(each.encode()).digest()).decode() in policy[1]
    assert "unsafe-eval" not in policy[1]
    assert policy[1].startswith("default-src 'none';")


def test_what_a_study_says_is_escaped() -> None:
    evil = trial(0, 0.5, settings={EVIL: EVIL, "lr": 0.1}, searched=("lr",), metrics={EVIL: 1.0})
    record = replace(study(evil), name=EVIL, metric=EVIL)
    page = to_html(rank(record))
    assert EVIL not in page
    assert "<img" not in page[: page.index("<script")]
    assert page.count("</script") == 3


def test_diverged_trials_and_outliers_stand_at_the_edge() -> None:
    values = [0.1, 0.2, 0.15, 0.12, 0.18, 0.11, 0.13, 0.16, 50.0]
    trials = [trial(n, value, lr=0.001 * (n + 1)) for n, value in enumerate(values)]
    page = to_html(rank(study(*trials, trial(9, state="diverged", lr=0.05))))
    rows = {row["trial"]: row for row in data_of(page)["datasets"]["trials"]}  # type: ignore[index]
    assert rows[8]["shown"] == rows[9]["shown"] > 0.2
    assert (rows[8]["value"], rows[3]["shown"]) == (50.0, 0.12)
    assert "1 of 9 values are above 0.2000 and stand at the edge." in page


def test_a_thousand_trials_are_less_than_three_megabytes() -> None:
    curve = {step: 1.234567 + 0.001 * step for step in range(1, 101)}
    trials = [trial(n, 0.1 + n / 7000, lr=1e-4 * (1 + n), intermediate=curve) for n in range(1000)]
    assert len(to_html(rank(study(*trials, direction="minimize"))).encode()) < 3e6
    assert len(SEARCHED) == 5


def test_a_page_of_many_trials_draws_some_and_has_all() -> None:
    trials = [trial(n, 0.1 + n / 7000, lr=1e-4 * (1 + n), intermediate={1: 0.5}) for n in range(2100)]
    page = to_html(rank(study(*trials)))
    datasets = data_of(page)["datasets"]
    assert (len(datasets["trials"]), len(datasets["table"])) == (2000, 2100)  # type: ignore[index]
    assert "2000 of 2100 trials are drawn" in page


def test_the_table_of_very_many_trials_has_the_best_and_those_that_are_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is chosen in a chart is found in the table."""
    monkeypatch.setattr("adamtune.reports.page.trials.MOST_ROWS", 2500)
    ranking = rank(study(*(trial(n, 0.1 + n / 7000, lr=1e-4 * (1 + n)) for n in range(4000))))
    page = to_html(ranking)
    datasets: dict[str, list[dict[str, int]]] = data_of(page)["datasets"]  # type: ignore[assignment]
    shown = [each["trial"] for each in datasets["table"]]
    assert shown[:2500] == [*range(2500)]
    assert len(shown) == len(set(shown)) < 4000
    assert {each["trial"] for each in datasets["trials"]} <= {*shown}
    assert f"The table has {len(shown):,} of 4,000 trials" in page
    assert "The table has" not in to_html(rank(many()))
