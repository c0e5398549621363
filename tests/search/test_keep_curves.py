"""The curves of the best trials are kept, and a search with few curves is the search with all of them."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from adamtune.analysis.importance import standings
from adamtune.config import StudyConfig
from adamtune.engines.base import Evaluation
from adamtune.search import loop
from adamtune.search.loop import Loop
from adamtune.search.progress import Progress
from adamtune.storage.curves import removed_steps
from adamtune.storage.studies import read_study

from .studies import WILD, Trials, in_optuna, interrupt, searched, study, trials

MOST = 4


def file(folder: Path, keep: int | str = MOST, **search: Any) -> StudyConfig:
    """Thirty trials of up to ten evaluations, some of which diverge; 4 curves are kept."""
    keys = {"trials": 30, "sampler": "tpe", "pruner": "asha", "keep_curves": keep} | search
    return study(folder, search=keys, population=6, space={"lr": WILD})


def without_curves(done: Trials) -> Trials:
    return [{key: value for key, value in each.items() if key != "intermediate"} for each in done]


def curves(done: Trials) -> dict[int, list[int]]:
    """The steps of the evaluations of each trial that ended."""
    return {each["number"]: list(each["intermediate"]) for each in done if each["state"] != "running"}


def kept(done: Trials, most: int = MOST) -> set[int]:
    """The trials whose curves are kept: the best complete ones, then the latest of the others."""
    complete = sorted((each["value"], each["number"]) for each in done if each["state"] == "complete")
    others = [each["number"] for each in reversed(done) if each["state"] in ("pruned", "diverged", "failed")]
    return {*[*(number for _, number in complete), *others][:most]}


def thinned(whole: dict[int, list[int]], numbers: set[int]) -> dict[int, list[int]]:
    """The curves where those of the trials ``numbers`` alone are whole."""
    return {
        number: steps if number in numbers else [each for each in steps if each not in removed_steps(steps)]
        for number, steps in whole.items()
    }


@pytest.fixture(scope="module")
def both(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int | str, StudyConfig]:
    """Two searches that have ended: one keeps few curves, and one all."""
    found: dict[int | str, StudyConfig] = {}
    for keep in (MOST, "all"):
        folder = tmp_path_factory.mktemp("both")
        shutil.copy(empty_database, folder / "studies.db")
        found[keep] = file(folder, keep)
        searched(found[keep])
    return found


@pytest.mark.parametrize("pruner", ["none", "hyperband"])
def test_only_the_curves_differ(pruner: str, folder: Path, another: Path) -> None:
    every = searched(file(another, "all", pruner=pruner))
    few = searched(file(folder, pruner=pruner))
    assert without_curves(few) == without_curves(every)
    assert curves(few) == thinned(curves(every), kept(every))
    assert sum(map(len, curves(few).values())) < sum(map(len, curves(every).values()))


def test_optuna_reads_what_is_left(both: dict[int | str, StudyConfig]) -> None:
    read = {each.number: sorted(each.intermediate_values) for each in in_optuna(both[MOST])}
    assert curves(trials(both[MOST])) == read


def test_a_resumed_search_keeps_the_same_curves(both: dict[int | str, StudyConfig], folder: Path) -> None:
    for done in (5, 14, 23):
        interrupt(file(folder), done)
    assert searched(file(folder)) == trials(both[MOST])


def test_each_commit_has_the_curves_of_its_best_trials(
    folder: Path, another: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a search that is killed at any moment leaves no others."""
    whole = curves(searched(file(another, "all")))
    record = Loop._record

    def commit(self: Loop, evaluations: list[Evaluation]) -> None:
        record(self, evaluations)
        self._commit()
        self._session.finish_commit()

    monkeypatch.setattr(Loop, "_record", commit)
    config, states = file(folder), set[int]()

    def look(progress: Progress) -> None:
        stored = trials(config)
        found = curves(stored)
        states.add(len(found))
        assert found == thinned({number: whole[number] for number in found}, kept(stored))

    searched(config, look)
    assert len(states) > 5


def test_fewer_curves_may_be_kept_later(both: dict[int | str, StudyConfig], folder: Path) -> None:
    interrupt(file(folder, "all"), 20)
    assert curves(searched(file(folder))) == curves(trials(both[MOST]))


def test_a_curve_that_is_lost_does_not_come_back(folder: Path) -> None:
    before = curves(searched(file(folder)))
    after = curves(searched(file(folder, "all", trials=36)))
    assert {number: after[number] for number in before} == before


def test_rows_that_are_not_kept_are_never_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a trial begins and ends between two commits, which is most of them where trials are fast."""
    monkeypatch.setattr(loop, "COMMIT_SECONDS", 1e9)
    config = file(folder, pruner="none")
    searched(config)
    with closing(sqlite3.connect(config.storage)) as connection:
        ids = "SELECT max(trial_value_id), count(*) FROM trial_values"
        assert connection.execute(ids).fetchone()[1] > MOST
        query = "SELECT max(trial_intermediate_value_id), count(*) FROM trial_intermediate_values"
        assert len(set(connection.execute(query).fetchone())) == 1


def test_pruned_trials_are_ranked_as_with_all_curves(both: dict[int | str, StudyConfig]) -> None:
    """By the values of the others where they were pruned, which thinned curves have."""
    few, every = (read_study(both[keep].storage, "s") for keep in (MOST, "all"))
    assert {"pruned", "complete"} <= {each.state for each in every.trials}
    assert standings(few.trials, "minimize") == standings(every.trials, "minimize")


def test_a_server_keeps_the_same_curves(
    both: dict[int | str, StudyConfig], postgres: str, folder: Path
) -> None:
    shared = study(
        folder, storage=postgres, search=dict(file(folder).search), population=6, space={"lr": WILD}
    )
    assert curves(searched(shared)) == curves(trials(both[MOST]))
