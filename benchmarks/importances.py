"""How often a setting without effect seems to matter, and how often one with an effect is found.

    python -m benchmarks.importances                     # 100 searches a row: about 6 minutes on 2 cores
    python -m benchmarks.importances --searches 20

Searches by Optuna's random sampler and TPE of five settings: three numbers, an integer and a choice. Their
values are normal noise of standard deviation 1, alone or around a valley of lr, (log10(lr) + 3)^2, with the
other four settings without effect. fANOVA and PED-ANOVA are Optuna's.

top: the mean of the largest importance; over noise is counted where a share is above its noise.
"""

from __future__ import annotations

import argparse
import math
import warnings

import numpy as np
import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from adamtune.analysis.importance import Importance, importance
from benchmarks.command_line import parser
from benchmarks.tables import table

HEADER = ("sampler", "trials", "values", "lr found", "others found", "top", "fANOVA's top", "PED-ANOVA's top")


def main() -> None:
    arguments = parse()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    rows = [
        row(sampler, trials, valley, arguments.searches)
        for sampler in ("random", "tpe")
        for trials in arguments.trials
        for valley in (False, True)
    ]
    print(f"{arguments.searches} searches a row\n\n{table(HEADER, rows)}")


def parse() -> argparse.Namespace:
    options = parser("importances", __doc__)
    options.add_argument("--searches", type=int, default=100, help="of each row; 100 by default")
    options.add_argument("--trials", type=int, nargs="+", default=[32, 64, 128], help="32, 64 and 128")
    return options.parse_args()


def row(sampler: str, trials: int, valley: bool, searches: int) -> tuple[object, ...]:
    studies = [search(sampler, trials, valley, seed) for seed in range(searches)]
    found = [ours(study) for study in studies]
    over = [{each.setting for each in shares if each.share > each.noise} for shares in found]
    return (
        *(sampler, trials, "valley of lr" if valley else "noise"),
        sum("lr" in each for each in over) / searches if valley else None,
        sum(bool(each - {"lr"} if valley else each) for each in over) / searches,
        float(np.mean([max(each.share for each in shares) for shares in found])),
        *(None if valley else top(studies[:20], kind) for kind in ("fanova", "ped")),
    )


def search(sampler: str, trials: int, valley: bool, seed: int) -> optuna.Study:
    rng = np.random.default_rng(seed)
    chosen: BaseSampler = RandomSampler(seed=seed) if sampler == "random" else TPESampler(seed=seed)

    def value(trial: optuna.Trial) -> float:
        lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
        trial.suggest_float("beta1", 0.5, 1)
        trial.suggest_float("beta2", 0.9, 1)
        trial.suggest_int("width", 1, 64)
        trial.suggest_categorical("schedule", ["constant", "cosine", "linear"])
        return valley * (math.log10(lr) + 3) ** 2 + float(rng.standard_normal())

    study = optuna.create_study(sampler=chosen)
    study.optimize(value, n_trials=trials)
    return study


def ours(study: optuna.Study) -> list[Importance]:
    settings = [each.params for each in study.trials]
    ranks = np.argsort(np.argsort([each.values[0] for each in study.trials]))
    return importance(settings, [float(rank) for rank in ranks])


def top(studies: list[optuna.Study], kind: str) -> float:
    """The mean of the largest importance by one of Optuna's methods."""
    from optuna.importance import (  # slow to import
        FanovaImportanceEvaluator,
        PedAnovaImportanceEvaluator,
        get_param_importances,
    )

    evaluator = FanovaImportanceEvaluator(seed=0) if kind == "fanova" else PedAnovaImportanceEvaluator()
    found = [get_param_importances(each, evaluator=evaluator) for each in studies]
    return float(np.mean([max(each.values()) for each in found]))


if __name__ == "__main__":
    main()
