"""A database that Optuna itself wrote, and the command line run in this process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from adamtune.cli.main import run

SETTINGS = {
    "optimizer": "adamw",
    "beta1": 0.9,
    "beta2": 0.999,
    "eps": 1e-8,
    "weight_decay": 0.01,
    "amsgrad": False,
    "schedule": "constant",
    "warmup_fraction": 0.0,
}
LR = optuna.distributions.FloatDistribution(1e-5, 1e-1, log=True)


class Ended(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def adamtune(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """Runs a command line in this process, 80 columns wide."""
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments: object) -> Ended:
        code = run([str(each) for each in arguments])
        return Ended(code, *capsys.readouterr())

    return call


def trial(state: TrialState, lr: float, value: float | None, **attrs: Any) -> optuna.trial.FrozenTrial:
    steps = attrs.get("steps", 230)
    settings = SETTINGS | {"lr": lr}
    seeds = [] if value is None else [value]
    metrics = {} if value is None else {"val_loss": value}
    end = value if value is not None else 1.0
    return create_trial(
        state=state,
        params={"lr": lr},
        distributions={"lr": LR},
        value=value,
        intermediate_values={step: end + 10 / step for step in (46, 92, 138, 184, 230) if step <= steps},
        user_attrs={"settings": settings, "seeds": seeds, "metrics": metrics, "steps": 230, "seconds": 0.31}
        | attrs,
    )


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the studies ``digits-cnn`` (four trials) and, begun later, ``empty``."""
    path = tmp_path_factory.mktemp("storage") / "adamtune.db"
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=storage, study_name="digits-cnn")
    study.set_user_attr("metric", "val_loss")
    study.set_user_attr("study", {"search": {"trials": 4}})
    study.add_trial(trial(TrialState.COMPLETE, 0.01, 0.21))
    study.add_trial(trial(TrialState.PRUNED, 0.09, None, steps=46, diverged_at=24))
    study.add_trial(trial(TrialState.COMPLETE, 0.00308, 0.0561))
    study.add_trial(trial(TrialState.PRUNED, 1e-5, 0.9, steps=92))
    optuna.create_study(storage=storage, study_name="empty", direction="maximize")
    storage.remove_session()
    storage.engine.dispose()
    return path


@pytest.fixture
def storage(written: Path, tmp_path: Path) -> Path:
    """A copy of the database, for this test alone."""
    return Path(shutil.copy(written, tmp_path / "adamtune.db"))
