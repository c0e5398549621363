"""Tiny studies to run for real: the vocabulary of these tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
import yaml

from adamtune.config import Study, parse_study
from adamtune.search.progress import Outcome, Progress, Reason
from adamtune.search.run import run
from adamtune.storage.reading import read_study

ENGINES: dict[str, dict[str, Any]] = {
    "population": {"engine": "population", "population": 6},
    "sequential": {"engine": "sequential"},
}
TASK: dict[str, Any] = {"name": "mlp", "hidden": [4], "batch_size": 128, "epochs": 5}
"""Ten steps, an evaluation after each."""
LR = {"low": 1e-3, "high": 1e-1, "log": True}
WILD = {"low": 1e-2, "high": 1e4, "log": True}
"""Learning rates of which many diverge."""
SPACE = {"lr": WILD, "schedule": {"name": ["constant", "step"], "drops": {"low": 1, "high": 4}}}
"""A conditional one, with every kind of distribution."""


def study(folder: Path, **changed: Any) -> Study:
    """A study file of eight quasi-random trials; ``search`` and ``task`` are changed key by key."""
    document: dict[str, Any] = {"name": "s", "optimizer": "sgd", "space": {"lr": LR}}
    document |= {"storage": str(folder / "studies.db"), "task": TASK, "search": {"trials": 8, "sampler": "qmc"}}
    for key in ("task", "search"):
        document[key] = document[key] | changed.pop(key, {})
    return parse_study(yaml.safe_dump(document | changed), "study.yaml")


def searched(file: Study, observe: Callable[[Progress], None] = lambda progress: None) -> list[dict[str, Any]]:
    """Runs the study to its end; its trials."""
    assert run(file, observe).reason == "complete"
    return trials(file)


def stopped(file: Study, when: Callable[[Progress], bool]) -> Outcome:
    """Runs the study until ``when`` says so of a round, as Ctrl-C would stop it."""
    import signal

    def observe(progress: Progress) -> None:
        if when(progress):
            signal.raise_signal(signal.SIGINT)

    outcome = run(file, observe)
    assert outcome.reason == "interrupted"
    return outcome


def trials(file: Study) -> list[dict[str, Any]]:
    """Everything that is kept with the trials, but for wall time."""
    kept = [asdict(trial) for trial in read_study(file.storage, file.name).trials]
    return [{key: value for key, value in trial.items() if key != "seconds"} for trial in kept]


def loaded(file: Study) -> optuna.Study:
    """The study as Optuna itself reads it."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{file.storage}")
    try:
        return optuna.load_study(study_name=file.name, storage=storage)
    finally:
        storage.engine.dispose()


def frozen(number: int, state: optuna.trial.TrialState, value: float | None = None, **more: Any) -> Any:
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


