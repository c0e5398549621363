"""Tiny studies that are run for real: the vocabulary of these tests."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import FrozenTrial, TrialState

from adamtune.config import StudyConfig, parse_study
from adamtune.search.progress import Progress
from adamtune.search.run import STOPPING, run
from adamtune.storage.studies import read_study

Trials = list[dict[str, Any]]

ENGINES: dict[str, dict[str, Any]] = {
    "population": {"engine": "population", "population": 6},
    "sequential": {"engine": "sequential"},
}
SAMPLERS = ("tpe", "gp", "cmaes", "qmc", "random", "grid")
TASK: dict[str, Any] = {
    "name": "mlp",
    "dataset": "diabetes",
    "hidden": [4],
    "batch_size": 128,
    "epochs": 5,
}
"""Ten steps, an evaluation after each."""
LR = {"low": 1e-3, "high": 1e-1, "log": True}
WILD = {"low": 1e-2, "high": 1e4, "log": True}
"""Learning rates of which many diverge."""
SPACE: dict[str, Any] = {
    "lr": WILD,
    "schedule": {"name": ["constant", "step"], "drops": {"low": 1, "high": 4}},
}
"""A conditional one, with every kind of distribution."""
GRID: dict[str, Any] = {
    "lr": [0.01, 0.1, 1e4],
    "schedule": {"name": ["constant", "step"], "drops": [1, 2, 3]},
}
"""One of twelve combinations."""


def study(folder: Path, **changed: Any) -> StudyConfig:
    """Eight quasi-random trials; ``task`` and ``search`` are changed key by key, other keys replaced."""
    task = TASK | changed.pop("task", {})
    searched = changed.get("space", {}).get("task", {})
    document: dict[str, Any] = {
        "name": "s",
        "storage": str(folder / "studies.db"),
        "task": {key: value for key, value in task.items() if key not in searched},
        "optimizer": "sgd",
        "space": {"lr": LR},
        "search": {"trials": 8, "sampler": "qmc", "confirm": "off"} | changed.pop("search", {}),
    }
    return parse_study(yaml.safe_dump(document | changed), "study.yaml")


def searched(file: StudyConfig, observe: Callable[[Progress], None] = lambda progress: None) -> Trials:
    """Runs the study to its end; its trials."""
    assert run(file, observe).reason == "complete"
    return trials(file)


def interrupt(file: StudyConfig, done: int) -> Trials:
    """Runs the study until so many trials are over, and stops it as Ctrl-C does; its trials."""

    def observe(progress: Progress) -> None:
        if progress.done >= done and STOPPING not in progress.notes:
            signal.raise_signal(signal.SIGINT)

    assert run(file, observe).reason == "interrupted"
    return trials(file)


def trials(file: StudyConfig) -> Trials:
    """Everything that is kept with the trials, but for wall time."""
    kept = [asdict(trial) for trial in read_study(file.storage, file.name).trials]
    times = {"seconds", "begun", "ended"}
    return [{key: value for key, value in trial.items() if key not in times} for trial in kept]


def in_optuna(file: StudyConfig) -> list[FrozenTrial]:
    """The trials as Optuna itself reads them."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{file.storage}")
    try:
        return optuna.load_study(study_name=file.name, storage=storage).trials
    finally:
        storage.remove_session()
        storage.engine.dispose()


def ended(number: int, state: TrialState, value: float | None = None, **more: Any) -> FrozenTrial:
    """A finished trial of one parameter ``x``."""
    trial = optuna.trial.create_trial(
        state=state,
        value=value,
        params={"x": 0.5},
        distributions={"x": optuna.distributions.FloatDistribution(0, 1)},
        **more,
    )
    trial.number = number
    return trial
