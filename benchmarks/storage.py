"""What it costs to log a trial: 5 parameters, 10 reported values, 8 attributes.

    python -m benchmarks.storage

LocalStorage commits once for each round of 16 trials; Optuna's RDBStorage on SQLite writes as it is
used. Milliseconds of wall time a trial; the last column is RDBStorage's cost over LocalStorage's.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import optuna
from optuna.distributions import FloatDistribution
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState

from adamtune.storage.attributes import TrialAttrs, write_trial
from adamtune.storage.local.storage import LocalStorage
from adamtune.storage.studies import list_studies, read_study

COUNTS = (100, 1_000, 10_000)
RDB_TRIALS = 100
ROUND = 16
PARAMS = {name: FloatDistribution(1e-8, 1.0, log=True) for name in ("lr", "beta1", "beta2", "eps", "decay")}
ATTRS: TrialAttrs = {
    "settings": {"optimizer": "adam", "schedule": "cosine", **dict.fromkeys(PARAMS, 0.5)},
    "seeds": [0.5],
    "metrics": {"val_loss": 0.5, "val_accuracy": 0.9, "train_loss": 0.4},
    "steps": 100,
    "seconds": 0.1,
}

FLAT = {"beta1": 0.9, "metric.val_accuracy": 0.9, "metric.train_loss": 0.4}


def log_round(storage: BaseStorage, study_id: int, trials: int) -> None:
    """A round as the loop does it: ask all, report all step by step, finish all."""
    ids = [storage.create_new_trial(study_id) for _ in range(trials)]
    for trial_id in ids:
        for name, distribution in PARAMS.items():
            storage.set_trial_param(trial_id, name, 0.123456789, distribution)
    for step in range(10):
        for trial_id in ids:
            storage.set_trial_intermediate_value(trial_id, step, 0.987654321)
    for trial_id in ids:
        write_trial(storage, trial_id, ATTRS, FLAT)
        storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [0.5])


def log_trials(storage: BaseStorage, count: int, commit: Callable[[], None]) -> list[float]:
    """Seconds of each round."""
    study_id = storage.create_new_study([StudyDirection.MINIMIZE], "study")
    seconds = []
    for first in range(0, count, ROUND):
        begun = time.perf_counter()
        log_round(storage, study_id, min(ROUND, count - first))
        commit()
        seconds.append(time.perf_counter() - begun)
    return seconds


def timed(what: Callable[[], object]) -> float:
    begun = time.perf_counter()
    what()
    return time.perf_counter() - begun


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        rdb = RDBStorage(f"sqlite:///{folder}/rdb.db")
        baseline = sum(log_trials(rdb, RDB_TRIALS, lambda: None)) * 1e3 / RDB_TRIALS
        rdb.remove_session()
        rdb.engine.dispose()
        print(f"RDBStorage    {RDB_TRIALS:6} trials: {baseline:8.3f} ms a trial")
        for count in COUNTS:
            path = Path(folder, f"local-{count}.db")
            local = LocalStorage(path)
            seconds = log_trials(local, count, local.commit)
            local.close()
            cost, last = sum(seconds) * 1e3 / count, sum(seconds[-6:]) * 1e3 / (6 * ROUND)
            again = LocalStorage(path)
            load = timed(lambda: again.get_study_id_from_name("study"))  # noqa: B023
            again.close()
            read = timed(lambda: read_study(str(path), "study"))  # noqa: B023
            listed = timed(lambda: list_studies(str(path)))  # noqa: B023
            print(
                f"LocalStorage  {count:6} trials: {cost:8.3f} ms a trial (last rounds {last:.3f}),"
                f" {baseline / cost:.0f} times faster; load {load:.3f} s, read for a report {read:.3f} s,"
                f" list {listed * 1e3:.1f} ms"
            )


if __name__ == "__main__":
    main()
