"""What samplers suggest: by (seed, number) alone, never twice, and within the space."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler
from optuna.storages import InMemoryStorage

from adamtune.config import StudyConfig
from adamtune.search.notes import STARTUP_TRIALS
from adamtune.search.samplers.per_trial import PerTrialSampler, sampler
from adamtune.search.samplers.points import RandomPoint, at_quantile
from adamtune.search.samplers.tpe import TpeSampler
from adamtune.search.suggestions import Suggestions, grid
from adamtune.search.trial import Tasks

from .studies import GRID, SAMPLERS, SPACE, searched, study


def space_of(name: str) -> dict[str, Any]:
    return GRID if name == "grid" else SPACE


def suggestions(file: StudyConfig, count: int) -> list[dict[str, Any]]:
    """The settings of trials that are trained one after the other, in a new study in memory."""
    done = 0
    own = optuna.Study("s", _storage(), PerTrialSampler(file, Tasks(file).steps, lambda: done))
    found = []
    for done in range(count):  # noqa: B007
        trial = own.ask()
        found.append(Suggestions(file.space).suggest(trial))
        own.tell(trial, found[-1]["lr"])
    return found


def _storage() -> InMemoryStorage:
    storage = InMemoryStorage()
    storage.create_new_study([optuna.study.StudyDirection.MINIMIZE], "s")
    return storage


COUNT = STARTUP_TRIALS + 4
IN_ANOTHER_PROCESS = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.search.test_samplers import COUNT, SAMPLERS, space_of, study, suggestions
print(json.dumps({name: suggestions(study(Path("."), search={"sampler": name}, space=space_of(name)),
                                    12 if name == "grid" else COUNT) for name in SAMPLERS}))
"""


def test_every_sampler_suggests_the_same_in_another_process() -> None:
    root = Path(__file__).parents[2]
    run = [sys.executable, "-c", IN_ANOTHER_PROCESS, str(root)]
    found = json.loads(subprocess.run(run, capture_output=True, text=True, check=True).stdout)
    for name in SAMPLERS:
        file = study(Path(), search={"sampler": name}, space=space_of(name))
        ours = suggestions(file, len(found[name]))
        assert ours == found[name], name
        assert len({json.dumps(each) for each in ours}) == len(ours), name


@pytest.mark.parametrize("name", ["tpe", "gp", "cmaes", "qmc", "random"])
def test_another_seed_suggests_otherwise(name: str) -> None:
    files = [study(Path(), search={"sampler": name, "seed": seed}, space=SPACE) for seed in (0, 1)]
    one, other = (suggestions(file, 3) for file in files)
    assert all(a["lr"] != b["lr"] for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", ["tpe", "cmaes"])
def test_models_learn(name: str) -> None:
    """The objective is lr itself (and a little more), so later trials have smaller ones than blind ones."""
    space = {"lr": {"low": 0.01, "high": 1.0}, "momentum": {"low": 0.0, "high": 0.9}}
    found = [each["lr"] for each in suggestions(study(Path(), search={"sampler": name}, space=space), 30)]
    assert fmean(found[-10:]) < fmean(found[:STARTUP_TRIALS]) / 2


@pytest.mark.parametrize("name", SAMPLERS)
def test_stopping_and_going_on_repeats_nothing(name: str, folder: Path, another: Path) -> None:
    def file(folder: Path, trials: int) -> StudyConfig:
        return study(
            folder, engine="sequential", search={"sampler": name, "trials": trials}, space=space_of(name)
        )

    half = searched(file(folder, 6))
    assert len(half) == 6
    whole = searched(file(folder, 12))
    assert whole[:6] == half
    assert whole == searched(file(another, 12))
    assert len({json.dumps(each["settings"]) for each in whole}) == 12


DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "float": FloatDistribution(-2.0, 3.0),
    "float, log": FloatDistribution(1e-10, 1e3, log=True),
    "int": IntDistribution(1, 4),
    "int, log": IntDistribution(1, 1000, log=True),
    "choice": CategoricalDistribution(("a", None, 3, 0.5, True)),
}
ALMOST_ONE = 1 - 2.0**-53


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_quantiles_are_in_range_and_reach_both_ends(name: str) -> None:
    distribution = DISTRIBUTIONS[name]
    values = [
        at_quantile(distribution, each) for each in (0.0, *(k / 997 for k in range(1, 997)), ALMOST_ONE)
    ]
    assert all(distribution._contains(distribution.to_internal_repr(value)) for value in values)
    if isinstance(distribution, CategoricalDistribution):
        assert list(dict.fromkeys(values)) == list(distribution.choices)
        return
    assert values == sorted(values)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    assert (values[0], values[-1]) == (distribution.low, pytest.approx(distribution.high, rel=1e-9))
    assert {type(value) for value in values} == {int if isinstance(distribution, IntDistribution) else float}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_random_values_are_those_of_optunas_sampler(name: str) -> None:
    """With the types of Python; one generator is seeded anew for each."""
    distribution, sampler = DISTRIBUTIONS[name], RandomPoint()
    own, trial = optuna.create_study(), optuna.trial.create_trial(value=0.0)
    for seed in range(100):
        drawn, theirs = (
            [each.sample_independent(own, trial, "x", distribution) for _ in range(3)]
            for each in (sampler.seeded(seed), RandomSampler(seed=seed))
        )
        assert [(type(each), each) for each in drawn] == [(type(each), each) for each in theirs]


def test_every_integer_is_as_likely() -> None:
    values = [at_quantile(DISTRIBUTIONS["int"], (k + 0.5) / 400) for k in range(400)]
    assert [values.count(each) for each in (1, 2, 3, 4)] == [100] * 4


def test_quasi_random_trials_cover_the_space_evenly() -> None:
    """Of 2^k Sobol points, each of 2^k intervals of every dimension gets exactly one."""
    file = study(
        Path(),
        space={"lr": {"low": 1e-9, "high": 16.0}, "momentum": {"low": 0.0, "high": 0.8}},
        search={"start": "none"},
    )
    found = suggestions(file, 16)
    assert sorted(int(each["lr"]) for each in found) == list(range(16))
    assert sorted(int(each["momentum"] / 0.05) for each in found) == list(range(16))


def test_a_grid_has_every_conditional_combination_once(folder: Path) -> None:
    file = study(folder, search={"sampler": "grid", "trials": 100}, space=GRID)
    expected = [{"lr": lr, "schedule": "constant"} for lr in GRID["lr"]]
    expected += [{"lr": lr, "schedule": "step", "drops": n} for lr in GRID["lr"] for n in (1, 2, 3)]
    key = lambda each: json.dumps(each, sort_keys=True)  # noqa: E731
    assert sorted(grid(file.space), key=key) == sorted(expected, key=key)
    assert file.space.combinations == file.trials == 12
    done = searched(file)
    assert sorted((each["params"] for each in done), key=key) == sorted(expected, key=key)


def test_a_grid_of_two_optimizers_asks_each_for_its_own() -> None:
    file = study(
        Path(), optimizer=["sgd", "adam"], search={"sampler": "grid"},
        space={"lr": [0.01, 0.1], "momentum": [0.0, 0.9], "beta1": [0.8, 0.9, 0.95]},
    )  # fmt: skip
    found = list(grid(file.space))
    assert len(found) == file.space.combinations == 2 * 2 + 2 * 3
    assert all(("momentum" in each) == (each["optimizer"] == "sgd") for each in found)
    assert all(("beta1" in each) == (each["optimizer"] == "adam") for each in found)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_space_with_nothing_to_search_has_one_trial(name: str, folder: Path) -> None:
    done = searched(study(folder, search={"sampler": name, "trials": 12}, space={"lr": 0.01}))
    (only,) = done
    assert only["params"] == {}


def test_models_begin_when_enough_trials_are_over() -> None:
    file = study(Path(), search={"sampler": "tpe"})
    tpe = TpeSampler(Tasks(file).steps)
    kinds = [
        type(sampler(file, 30, finished, tpe, RandomPoint())).__name__
        for finished in (0, STARTUP_TRIALS - 1, STARTUP_TRIALS)
    ]
    assert kinds == ["SobolPoint", "SobolPoint", "TpeSampler"]
