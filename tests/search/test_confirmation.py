"""The confirmation of a study: which trainings it has, what they give, and that it resumes exactly."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch

from adamtune.analysis.confirmation import PAIR, Confirmation, of_lr
from adamtune.analysis.looks import SMALL
from adamtune.analysis.verdict import Verdict, verdict
from adamtune.config import StudyConfig, parse_study
from adamtune.config.baseline import default_settings, put_back
from adamtune.engines.base import Member
from adamtune.engines.sequential import Sequential
from adamtune.search import confirmation as module
from adamtune.search.progress import Progress
from adamtune.search.run import run
from adamtune.search.samplers.start import PRIORS, start_points
from adamtune.search.trial import Tasks, member
from adamtune.storage.studies import read_study
from tests.search.studies import ENGINES, LR, interrupt, searched, study, trials

GOOD = {"lr": {"low": 1e-3, "high": 1.0, "log": True}}
"""Learning rates of which the best are far better than the default of SGD, 1e-3."""


class Killed(Exception):
    """The process dies: nothing after the last commit is kept."""


def confirmed(folder: Path, **changed: Any) -> StudyConfig:
    search = {"trials": 6, "confirm": "small"} | changed.pop("search", {})
    return study(folder, search=search, space=changed.pop("space", GOOD), **changed)


def confirmation(file: StudyConfig) -> Confirmation:
    stored = read_study(file.storage, file.name).confirmation
    assert stored is not None
    return Confirmation.from_json(stored)


def said(file: StudyConfig) -> Verdict:
    found = verdict(read_study(file.storage, file.name))
    assert found is not None
    return found


def metrics(training: Member) -> dict[str, float]:
    """The metrics at the last step of a training of its own."""
    engine = Sequential(1)
    engine.admit([training])
    while not (evaluation := engine.advance()[0]).finished:
        pass
    return dict(evaluation.metrics)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_trainings_are_those_of_fresh_seeds(engine: str, folder: Path) -> None:
    """Each result is that of a plain training with its settings and a seed that no search can have."""
    file = confirmed(folder, **ENGINES[engine])
    searched(file)
    found = confirmation(file)
    assert found.plan == SMALL
    ranked = sorted(trials(file), key=lambda each: each["value"])
    assert found.finalists == tuple(each["number"] for each in ranked[:3])
    settings = {str(each["number"]): each["settings"] for each in ranked}
    settings |= {"winner": settings[str(found.winner)], "baseline": default_settings("sgd")}
    tasks = Tasks(file)
    torch.manual_seed(0)
    for role, results in found.results.items():
        for number, result in results.items():
            task = tasks.of(settings[role])
            replicate = number + (1000 if role in PAIR else 0)
            trained = metrics(member(0, settings[role], task, 2**32, replicate))
            assert {name: result[name] for name in trained} == pytest.approx(trained, rel=1e-4)


def test_a_better_trial_is_said_to_be_better(folder: Path) -> None:
    file = confirmed(folder)
    searched(file)
    found = said(file)
    assert found.outcome == "better"
    assert found.sentence.startswith("Better than the default: test_loss ")
    assert found.candidate is not None
    assert found.baseline is not None
    assert found.difference == pytest.approx((found.candidate.mean or 0) - (found.baseline.mean or 0))
    assert found.interval is not None
    assert found.interval[1] < 0
    assert found.baseline.trial == 0  # the search began with the default
    assert set(found.metrics) == {"val_loss", "val_r2", "train_loss", "test_loss", "test_r2"}


def test_the_value_of_a_trial_that_was_not_chosen_is_not_called_optimistic(folder: Path) -> None:
    file = confirmed(folder, search={"trials": 1}, space={"lr": 0.1})
    searched(file)
    assert said(file).outcome == "better"
    assert "Searched" not in said(file).sentence


@pytest.mark.slow
def test_seeds_do_not_depend_on_the_seed_of_the_search(folder: Path) -> None:
    files = [confirmed(folder, name=f"s{seed}", search={"seed": seed}) for seed in (0, 1)]
    for file in files:
        searched(file)
    one, other = (confirmation(file).results["baseline"] for file in files)
    common = one.keys() & other.keys()
    assert len(common) >= SMALL.looks[0]
    assert {number: one[number] for number in common} == {number: other[number] for number in common}


def crashing(at: int) -> Callable[[Progress], None]:
    """An observer that kills the process at its ``at``-th call within the confirmation."""
    calls = itertools.count(1)

    def observe(progress: Progress) -> None:
        if progress.stage and next(calls) == at:
            raise Killed

    return observe


@pytest.mark.parametrize("engine", ENGINES)
def test_a_killed_confirmation_resumes_exactly(
    engine: str, folder: Path, another: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def file(folder: Path) -> StudyConfig:
        return confirmed(folder, task={"epochs": 40}, **ENGINES[engine])

    searched(file(another))
    monkeypatch.setattr(module, "COMMIT_SECONDS", 0.02)
    kills = 0
    for at in (2, 1, 3, 1):
        try:
            run(file(folder), crashing(at))  # which trains nothing where all was committed before a kill
        except Killed:
            kills += 1
    assert kills >= 2
    searched(file(folder)) if said(file(folder)).outcome == "not_confirmed" else None
    assert confirmation(file(folder)) == confirmation(file(another))
    assert trials(file(folder)) == trials(file(another))


def test_an_interrupted_confirmation_continues(folder: Path, another: Path) -> None:
    interrupted = []

    def observe(progress: Progress) -> None:
        if progress.stage and not interrupted:
            interrupted.append(progress.stage)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(confirmed(folder), observe)
    assert said(confirmed(folder)).outcome == "not_confirmed"
    searched(confirmed(folder))
    searched(confirmed(another))
    assert confirmation(confirmed(folder)) == confirmation(confirmed(another))
    assert run(confirmed(folder), lambda progress: None).reason == "already_complete"


@pytest.mark.slow
def test_an_extended_study_is_confirmed_anew_on_other_seeds(folder: Path) -> None:
    searched(confirmed(folder))
    first = confirmation(confirmed(folder))
    interrupt(confirmed(folder, search={"trials": 12}), 9)
    assert "the last verdict was of 6 complete trials" in said(confirmed(folder)).sentence
    searched(confirmed(folder, search={"trials": 12}))
    second = confirmation(confirmed(folder))
    assert (first.generation, second.generation) == (0, 1)
    assert (first.trials, second.trials) == (6, 12)
    assert not {str(each) for each in first.results["baseline"].values()} & {
        str(each) for each in second.results["baseline"].values()
    }


def test_another_baseline_is_compared_anew(folder: Path) -> None:
    searched(confirmed(folder))
    by_hand = {**default_settings("sgd"), "lr": 0.3}
    file = confirmed(folder, baseline={"optimizer": "sgd", "lr": 0.3})
    searched(file)
    found = said(file)
    assert found.baseline is not None
    assert found.baseline.settings == by_hand
    assert "the baseline" in found.sentence
    assert confirmation(file).generation == 1


def test_a_best_trial_with_the_settings_of_the_baseline_needs_no_pairs(folder: Path) -> None:
    searched(confirmed(folder, space={"lr": [1e-3, 1e4]}, search={"trials": 2}))
    found = said(confirmed(folder))
    assert found.outcome == "no_difference"
    assert "the search found nothing better" in found.sentence
    assert not set(PAIR) & confirmation(confirmed(folder)).results.keys()


def test_trials_that_diverge_on_fresh_seeds_are_not_recommended(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The finalists get learning rates with which every training diverges."""
    file = confirmed(folder)
    run(replace_search(file, confirm="off"), lambda progress: None)

    def exploding(number: int, settings: Any, *rest: Any) -> Any:
        wild = {**settings, "lr": 1e6} if settings["lr"] != 1e-3 else settings
        return member(number, wild, *rest)

    monkeypatch.setattr(module, "member", exploding)
    searched(file)
    assert "each of the search's best 3 trials diverged on a fresh seed" in said(file).sentence


def replace_search(file: StudyConfig, **search: Any) -> StudyConfig:
    return file.model_copy(update={"search": file.search.model_copy(update=search)})


@pytest.mark.parametrize(
    ("confirm", "trials", "seeds", "expected"),
    [
        ("auto", 15, 1, None),
        ("auto", 16, 1, 30),
        ("auto", 100, 1, 63),
        ("auto", 50, 2, 63),
        ("full", 2, 1, 63),
        ("off", 99, 1, None),
    ],
)
def test_how_many_trainings_confirm(
    confirm: str, trials: int, seeds: int, expected: int | None, tmp_path: Path
) -> None:
    from adamtune.analysis.looks import confirmation_plan

    file = study(tmp_path, search={"confirm": confirm, "trials": trials, "seeds": seeds})
    plan = confirmation_plan(file, False)
    assert (plan and plan.trainings) == expected


def test_the_search_begins_with_the_default(folder: Path) -> None:
    file = study(
        folder,
        optimizer=["adamw", "sgd"],
        space={"lr": LR, "one_minus_beta1": {"low": 0.01, "high": 0.5}, "schedule": ["cosine", "constant"]},
        search={"trials": 2},
    )
    first = searched(file)[0]["settings"]
    assert first == default_settings("adamw") | {"beta1": pytest.approx(0.9, abs=1e-15)}


def test_known_good_settings_come_next(folder: Path) -> None:
    space = {
        "lr": {"low": 1e-4, "high": 1e-1, "log": True},
        "one_minus_beta1": {"low": 0.01, "high": 0.5, "log": True},
        "schedule": {"name": ["constant", "cosine"], "warmup_fraction": [0.0, 0.02, 0.05, 0.1]},
    }
    file = study(folder, optimizer="nadam", space=space, search={"trials": 6, "start": "priors"})
    found = [each["settings"] for each in searched(file)]
    assert found[0] == default_settings("nadam") | {"beta1": pytest.approx(0.9)}
    for settings, prior in zip(found[1:5], PRIORS, strict=True):
        assert settings["schedule"] == "cosine"
        named = {name: prior[name] for name in ("lr", "beta1", "warmup_fraction")}
        assert {name: settings[name] for name in named} == pytest.approx(named)


def test_a_default_outside_the_space_is_no_first_trial(tmp_path: Path) -> None:
    assert start_points(study(tmp_path, space={"lr": {"low": 0.01, "high": 0.1}})) == []
    assert start_points(study(tmp_path, space={"lr": [1e-3, 0.1]}, search={"sampler": "grid"})) == []
    assert start_points(study(tmp_path, space={"lr": [1e-3, 0.1]}, search={"start": "none"})) == []
    assert start_points(study(tmp_path, space={"lr": [1e-3, 0.1]})) == [{"lr": 1e-3}]


def test_a_baseline_with_a_tuned_lr(folder: Path) -> None:
    """As many learning rates as trials; the best three get the finalists' seeds, and the best the pairs."""
    file = confirmed(folder, baseline="lr_only")
    stages: list[str] = []
    searched(file, lambda progress: stages.append(progress.stage.name if progress.stage else ""))
    assert [*dict.fromkeys(stages)] == [
        "",
        "confirmation, choosing",
        "confirmation, tuning the baseline",
        "confirmation, judging",
    ]
    found = confirmation(file)
    assert found.lrs == pytest.approx([1e-3 * 10 ** (3 * place / 5) for place in range(6)])
    once = found.results["lr"]
    assert len({str(each) for each in once.values()}) > 3
    best = sorted(range(6), key=lambda place: once[place].get("val_loss", 1e9))[:3]
    means = {place: fmean(found.values(of_lr(place), "val_loss")) for place in best}
    assert all(list(found.results[of_lr(place)]) == [0, 1] for place in best)
    assert found.best_lr == found.lrs[min(best, key=means.__getitem__)]
    tasks = Tasks(file)
    settings = default_settings("sgd") | {"lr": found.lrs[best[2]]}
    trained = metrics(member(0, settings, tasks.of(settings), 2**32, 1))
    result = found.results[of_lr(best[2])][1]
    assert {name: result[name] for name in trained} == pytest.approx(trained, rel=1e-4)
    assert found.baseline == default_settings("sgd") | {"lr": found.best_lr}
    assert "the default with a tuned lr" in said(file).sentence


ROWS = """\
import torch
from torch import nn
from adamtune import Data, Task


class Lines(Task):
    batch_size: int = 8
    epochs: int = 8

    def data(self):
        inputs = torch.randn(200, 3)
        return Data.split(inputs, inputs @ torch.tensor([1.0, -2.0, 3.0]), validation=0.2, test=0.3)

    def model(self):
        return nn.Linear(3, 1)

    def loss(self, model, batch):
        inputs, target = batch
        return nn.functional.mse_loss(model(inputs).squeeze(-1), target)
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_pairs_are_compared_on_test_rows(engine: str, folder: Path) -> None:
    (folder / "lines.py").write_text(ROWS)
    text = f"""
name: s
storage: {folder}/studies.db
task: {folder}/lines.py
optimizer: sgd
space: {{lr: [1.0e-3, 1.0e-2]}}
search: {{trials: 2, confirm: small}}
engine: {engine}
"""
    file = parse_study(text, "study.yaml")
    searched(file)
    found = confirmation(file)
    assert found.test == 60
    task = Tasks(file).of({})
    assert task.test is not None
    rows = [f"test.{part}/loss" for part in range(25)]
    result = found.results["winner"][0]
    # The mean over all rows is that of the parts, each weighted by its rows.
    sizes = [60 * (part + 1) // 25 - 60 * part // 25 for part in range(25)]
    weighted = sum(result[name] * size for name, size in zip(rows, sizes, strict=True)) / 60
    assert result["test/loss"] == pytest.approx(weighted, rel=1e-5)
    assert said(file).metric == "test_loss"
    assert "The interval is for new rows, too: the 60 rows" in said(file).sentence
    assert set(said(file).metrics) == {"val_loss", "train_loss", "test_loss"}
    # The search itself never scores a test row.
    assert set(trials(file)[0]["metrics"]) == {"val_loss", "train_loss"}


def test_each_setting_of_a_better_trial_is_put_back(folder: Path) -> None:
    """lr matters; momentum is put back alone, with the winner's lr."""
    space = {"lr": [1e-3, 0.3], "momentum": [0.0, 0.3]}
    file = confirmed(folder, space=space, search={"trials": 4, "sampler": "grid", "ablate": "on"})
    told: list[Progress] = []
    searched(file, told.append)
    stage = told[-1].stage
    assert stage is not None
    assert stage.name == "confirmation, ablations"
    assert stage.done <= stage.most
    found = confirmation(file)
    winner = trials(file)[found.winner or 0]["settings"]
    assert found.ablated == ("lr", "momentum") if winner["momentum"] else ("lr",)
    tasks = Tasks(file)
    for setting in found.ablated:
        settings = {**winner, setting: default_settings("sgd")[setting]}
        results = found.results[f"without {setting}"]
        assert list(results) == list(range(10))
        trained = metrics(member(0, settings, tasks.of(settings), 2**32, 1003))
        assert {name: results[3][name] for name in trained} == pytest.approx(trained, rel=1e-4)
    lr = found.effects[0]
    assert (lr.setting, lr.n) == ("lr", 10)
    assert lr.interval is not None
    assert lr.interval[0] > 0
    assert run(file, lambda progress: None).reason == "already_complete"


def test_settings_that_are_put_back() -> None:
    winner = default_settings("adamw", "cosine") | {
        "lr": 0.01,
        "warmup_fraction": 0.1,
        "clip_norm": 1.0,
        "hidden": 8,
    }
    found = put_back(winner, default_settings("sgd") | {"hidden": 4})
    assert list(found) == [
        "optimizer",
        "lr",
        "weight_decay",
        "schedule",
        "warmup_fraction",
        "clip_norm",
        "hidden",
    ]
    assert found["lr"] == {**winner, "lr": 1e-3}
    assert found["schedule"]["schedule"] == "constant"
    assert "final_fraction" not in found["schedule"]
    assert found["schedule"]["warmup_fraction"] == 0.1
    assert found["optimizer"]["optimizer"] == "sgd"
    assert found["optimizer"]["lr"] == 0.01
    assert "beta1" not in found["optimizer"]
    assert found["clip_norm"] == {**winner, "clip_norm": "none"}
    assert found["hidden"] == {**winner, "hidden": 4}
