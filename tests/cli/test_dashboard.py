"""What Optuna's dashboard shows of a study: each value in a column of its own."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial

from .conftest import Ended
from .studies import WILD, write

Adamtune = Callable[..., Ended]


@pytest.fixture
def location(adamtune: Adamtune, tmp_path: Path) -> str:
    """A study of two optimizers, of which trials of ``sgd`` diverge."""
    space = {"lr": WILD, "one_minus_beta1": {"low": 1e-2, "high": 0.5, "log": True}}
    file = write(
        tmp_path / "s.yaml", optimizer=["adam", "sgd"], space=space, search={"trials": 12, "pruner": "none"}
    )
    ended = adamtune("search", file, "--no-confirm")
    assert ended.code == 0, ended.err
    return f"sqlite:///{tmp_path / 'studies.db'}"


def of_states(trials: Iterable[FrozenTrial]) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
    """The trials that are complete, and those that diverged."""
    both: tuple[list[FrozenTrial], list[FrozenTrial]] = [], []
    for each in trials:
        both["diverged_at" in each.user_attrs].append(each)
    assert all(both)
    return both


def test_optuna_has_the_name_of_the_metric_and_single_values(location: str) -> None:
    study = optuna.load_study(study_name="s", storage=location)
    assert study.metric_names == ["val_loss"]
    complete, diverged = of_states(study.trials)
    for trial in complete:
        others = {name: value for name, value in trial.user_attrs["metrics"].items() if name != "val_loss"}
        assert others
        flat = {key: value for key, value in trial.user_attrs.items() if key.startswith("metric.")}
        assert flat == {f"metric.{name}": value for name, value in others.items()}
        assert "outcome" not in trial.user_attrs
    assert {each.user_attrs["outcome"] for each in diverged} == {"diverged"}
    adams = [each for each in study.trials if "one_minus_beta1" in each.params]
    assert adams
    assert all(each.user_attrs["beta1"] == 1 - each.params["one_minus_beta1"] for each in adams)


def get(app: Callable[..., Iterable[bytes]], path: str) -> Any:
    """What a WSGI application answers, as JSON."""
    statuses: list[str] = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "SERVER_NAME": "test",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
    }
    body = b"".join(app(environ, lambda status, headers, error=None: statuses.append(status)))
    assert statuses == ["200 OK"]
    return json.loads(body)


def test_the_dashboard_shows_them(location: str) -> None:
    dashboard = pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    app = dashboard.wsgi(optuna.storages.RDBStorage(location))
    shown = get(app, "/api/studies/1")
    assert shown["objective_names"] == ["val_loss"]
    sortable = {each["key"] for each in shown["union_user_attrs"] if each["sortable"]}
    assert sortable >= {"beta1", "metric.train_loss", "steps", "seconds", "diverged_at"}
    outcomes = {
        trial["number"]: {each["key"]: each["value"] for each in trial["user_attrs"]}.get("outcome")
        for trial in shown["trials"]
    }
    diverged = [
        each.number for each in of_states(optuna.load_study(study_name="s", storage=location).trials)[1]
    ]
    assert [number for number, outcome in outcomes.items() if outcome == "diverged"] == diverged
