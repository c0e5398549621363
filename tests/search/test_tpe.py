"""TPE suggests as Optuna's own sampler does."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from adamtune.search.samplers.tpe import TpeSampler

SPACE: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-5, 1.0, log=True),
    "beta": FloatDistribution(0.0, 1.0),
    "schedule": CategoricalDistribution(("constant", "cosine", "step")),
}


def last_step(trial: FrozenTrial) -> int:
    """All trainings are of one length."""
    return 1


def filled(count: int) -> Study:
    """Good trials have an lr near 1e-3; those with a step schedule do not have a beta."""
    rng, study = np.random.default_rng(0), optuna.create_study()
    for _ in range(count):
        params = {"lr": 10 ** rng.uniform(-5, 0), "schedule": str(rng.choice(["constant", "cosine", "step"]))}
        if params["schedule"] != "step":
            params["beta"] = rng.random()
        asked = {name: SPACE[name] for name in params}
        value = abs(np.log10(float(params["lr"])) + 3) + (params["schedule"] == "constant")
        study.add_trial(create_trial(value=value, params=params, distributions=asked))
    return study


def suggested(sampler: BaseSampler, study: Study, trial: optuna.Trial) -> dict[str, Any]:
    frozen = study._storage.get_trial(trial._trial_id)
    sampler.before_trial(study, frozen)
    return {name: sampler.sample_independent(study, frozen, name, each) for name, each in SPACE.items()}


def draws(study: Study, trial: optuna.Trial) -> list[list[dict[str, Any]]]:
    """Of ours and of Optuna's, for many seeds."""
    tpe, seeds = TpeSampler(last_step), range(300)
    theirs = [TPESampler(seed=seed, n_startup_trials=0, multivariate=False) for seed in seeds]
    return [
        [suggested(tpe.seeded(seed), study, trial) for seed in seeds],
        [suggested(each, study, trial) for each in theirs],
    ]


def test_suggestions_are_spread_as_optunas_are() -> None:
    study = filled(60)
    ours, theirs = draws(study, study.ask())
    for name in ("lr", "beta"):
        a, b = (np.sort([each[name] for each in side]) for side in (ours, theirs))
        every = np.concatenate([a, b])
        apart = np.abs(a.searchsorted(every) - b.searchsorted(every)).max() / len(a)
        assert apart < 1.95 * (2 / len(a)) ** 0.5, name  # Kolmogorov and Smirnov, 0.1 %
    shares = [np.mean([each["schedule"] == "constant" for each in side]) for side in (ours, theirs)]
    assert abs(shares[0] - shares[1]) < 0.13


def test_running_trials_keep_others_away() -> None:
    study = filled(60)
    alone, tpe = study.ask(), TpeSampler(last_step)
    before = [suggested(tpe.seeded(seed), study, alone)["lr"] for seed in range(100)]
    for lr in before:
        running = study.ask()
        study._storage.set_trial_param(running._trial_id, "lr", lr, SPACE["lr"])
    after = [suggested(tpe.seeded(seed), study, alone)["lr"] for seed in range(100)]
    spread = [np.std(np.log(each)) for each in (before, after)]
    assert spread[1] > 1.2 * spread[0]


def test_a_trial_does_not_keep_away_from_itself() -> None:
    study = filled(60)
    one, other = study.ask(), study.ask()
    tpe = TpeSampler(last_step)
    expected = suggested(tpe.seeded(0), study, one)
    study._storage.set_trial_param(one._trial_id, "lr", expected["lr"], SPACE["lr"])
    assert suggested(tpe.seeded(0), study, one) == expected
    assert suggested(TpeSampler(last_step).seeded(0), study, other) == suggested(tpe.seeded(0), study, other)


def test_it_follows_a_study() -> None:
    """One that has seen it grow suggests what a new one does, to the last bit."""
    study, tpe, running = filled(12), TpeSampler(last_step), list[optuna.Trial]()
    for seed in range(40):
        running.append(study.ask())
        found = suggested(tpe.seeded(seed), study, running[-1])
        assert found == suggested(TpeSampler(last_step).seeded(seed), study, running[-1])
        for name, value in found.items():
            inner = SPACE[name].to_internal_repr(value)
            study._storage.set_trial_param(running[-1]._trial_id, name, inner, SPACE[name])
        if seed % 3 == 2:
            study.tell(running.pop(0), float(seed % 7))
            study.tell(running.pop(), state=TrialState.FAIL)
