"""The advice that a study's numbers give, the trials that are tied, and the verdict's reasons for none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from adamtune.analysis.advice import Advice, advise, few_trials
from adamtune.analysis.confirmation import ABLATION_SEEDS, Confirmation, Training, without
from adamtune.analysis.looks import SMALL
from adamtune.analysis.ranking import rank
from adamtune.analysis.verdict import verdict
from adamtune.config import parse_study
from adamtune.config.baseline import default_settings
from adamtune.storage.records import StudyRecord, TrialRecord

FILE = """\
name: x
task: mlp
space:
  lr: {low: 1.0e-4, high: 1.0e-1, log: true}
  one_minus_beta1: {low: 0.02, high: 0.5, log: true}
  weight_decay: {low: 0.0, high: 0.2}
search: {trials: TRIALS}
"""
NOISE = (-1.5, 0.5, 1.0, -0.5, 0.0, 0.5, -1.0, 1.0, -0.5, 0.5, 1.5, -1.5)
"""Of mean 0 over the first six; standard deviation 1."""


def trial(
    number: int, value: float | None, lr: float = 0.01, one_minus_beta1: float = 0.1, **more: Any
) -> TrialRecord:
    params = {"lr": lr, "one_minus_beta1": one_minus_beta1, "weight_decay": more.pop("weight_decay", 0.1)}
    settings = default_settings("adamw") | {
        "lr": lr,
        "beta1": 1 - one_minus_beta1,
        "weight_decay": params["weight_decay"],
    }
    state = more.pop("state", "diverged" if value is None else "complete")
    seeds = [] if value is None else [value]
    return TrialRecord(number, state, value, seeds, settings, {}, {}, 10, 0.1, None, params)


def study(*trials: TrialRecord, confirmation: Confirmation | None = None, asked: int = 0) -> StudyRecord:
    config = parse_study(FILE.replace("TRIALS", str(asked or len(trials))), "x.yaml")
    stored = confirmation.to_json() if confirmation else None
    return StudyRecord(
        "x", "val_loss", "minimize", None, config.canonical(), None, None, {}, trials, False, stored
    )


def confirmed(
    winner: float, baseline: float, noise: float = 1e-3, trials: int = 3, **put_back: float
) -> Confirmation:
    """A small confirmation of trials 0, 1 and 2, of which 0 wins."""
    found = Confirmation(
        SMALL, "val_loss", "minimize", trials, "default", (0, 1, 2), default_settings("adamw")
    )
    found.ablated = tuple(put_back)
    for number in range(2):
        for role, value in (("0", winner), ("1", winner + 5 * noise), ("2", winner + 9 * noise)):
            found.keep(Training(role, number), {"val_loss": value + noise * NOISE[number]})
    for number in range(12):
        for role, value in (("winner", winner), ("baseline", baseline)):
            shift = NOISE[number] if role == "winner" else NOISE[-1 - number]
            found.keep(Training(role, number), {"val_loss": value + noise * shift})
    for name, value in put_back.items():
        for number in range(ABLATION_SEEDS):
            found.keep(Training(without(name), number), {"val_loss": value + noise * NOISE[number - 3]})
    return found


def codes(record: StudyRecord) -> list[str]:
    return [each.code for each in advise(rank(record))]


def one(record: StudyRecord, code: str) -> Advice:
    (found,) = (each for each in advise(rank(record)) if each.code == code)
    return found


THREE = (trial(0, 0.05), trial(1, 0.051), trial(2, 0.0512))


def test_a_setting_at_the_end_of_its_range() -> None:
    found = one(study(trial(0, 0.05, lr=0.098), trial(1, 0.06)), "range_end")
    assert (
        found.text
        == "lr 0.098 is at the upper end of its range: search {low: 0.0032, high: 3.2, log: true} next."
    )
    assert found.data == {"setting": "lr", "value": 0.098, "low": 0.0032, "high": 3.2}
    lower = one(study(trial(0, 0.05, one_minus_beta1=0.02), trial(1, 0.06)), "range_end")
    assert lower.data["setting"] == "one_minus_beta1"
    assert (lower.data["low"], lower.data["high"]) == (0.004, 0.1)


def test_a_range_is_not_moved_beyond_the_legal_values() -> None:
    assert "range_end" not in codes(study(trial(0, 0.05, weight_decay=0.0), trial(1, 0.06)))
    assert one(study(trial(0, 0.05, weight_decay=0.2), trial(1, 0.06)), "range_end").data["high"] == 0.3


def test_nothing_better_than_the_baseline() -> None:
    found = one(study(*THREE, confirmation=confirmed(0.05, 0.05)), "keep_baseline")
    assert found.data == {"outcome": "no_difference"}


def test_settings_without_an_effect() -> None:
    record = study(*THREE, confirmation=confirmed(0.05, 0.06, lr=0.06, beta1=0.05))
    found = one(record, "no_effect")
    assert found.data["setting"] == "beta1"
    assert found.data["p"] > 0.05
    effects = {each.setting: each for each in rank(record).effects}
    assert effects["lr"].difference == pytest.approx(0.01, abs=5e-4)


def test_trials_that_cannot_be_told_apart() -> None:
    """Noise of 0.001: trial 3 is far off, and trial 2 has the lr of the default."""
    trials = (trial(0, 0.05), trial(1, 0.051), trial(2, 0.0512, lr=1e-3), trial(3, 0.2))
    record = study(*trials, confirmation=confirmed(0.05, 0.06, trials=4))
    assert rank(record).tied == (0, 1, 2)
    assert one(record, "tie").data == {"trials": [0, 1, 2], "nearest": 2}


def test_a_trial_as_bad_as_a_baseline_that_is_worse_is_no_tie() -> None:
    """One training each would not tell 0.06 from 0.05, but the pairs have."""
    trials = (trial(0, 0.05), trial(1, 0.051), trial(2, 0.052), trial(3, 0.0602, lr=1e-3))
    record = study(*trials, confirmation=confirmed(0.05, 0.06, noise=3e-3, trials=4))
    assert rank(record).verdict.outcome == "better"  # type: ignore[union-attr]
    assert rank(record).tied == (0, 1, 2)


def test_ties_of_one_seed_are_unknown_without_a_confirmation() -> None:
    assert rank(study(*THREE)).tied == ()
    seeds = [0.0501, 0.0499], [0.0502, 0.0510], [0.0612, 0.0613]
    several = [replace(each, seeds=own) for each, own in zip(THREE, seeds, strict=True)]
    assert rank(study(*several)).tied == (0, 1)


def test_trials_that_diverged() -> None:
    wild = [trial(number, None, lr=0.09) for number in range(3, 10)]
    found = one(study(*THREE, *wild), "many_diverged")
    assert (
        found.text == "7 of 10 trials diverged: lower the upper end of lr. The highest lr that did not: 0.01."
    )


@pytest.mark.parametrize(
    ("trials", "searched", "below"),
    [(8, 1, None), (8, 2, 10), (12, 2, None), (12, 3, 25), (25, 3, None), (64, 9, None)],
)
def test_few_trials_for_the_settings(trials: int, searched: int, below: int | None) -> None:
    found = [each.data["below"] for each in few_trials(trials, ["x"] * searched)]
    assert found == ([] if below is None else [below])


def test_a_search_that_found_nothing_better_for_long() -> None:
    trials = [trial(number, 0.05 + 0.001 * number) for number in range(21)]
    assert one(study(*trials), "long_search").data == {"trials": 21, "best": 0}
    assert "long_search" not in codes(
        study(*reversed([replace(each, number=20 - each.number) for each in trials]))
    )


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (study(*THREE), "3 trainings are confirmed only where search.confirm says so"),
        (study(*THREE, asked=20), "the search is not complete"),
        (
            study(*THREE, confirmation=confirmed(0.05, 0.06, trials=2)),
            "the last verdict was of 2 complete trials",
        ),
    ],
)
def test_why_a_study_has_no_verdict(record: StudyRecord, words: str) -> None:
    found = verdict(record)
    assert found is not None
    assert found.outcome == "not_confirmed"
    assert words in found.sentence


def test_the_recommended_settings() -> None:
    better = rank(study(*THREE, confirmation=confirmed(0.05, 0.06)))
    assert better.recommended is better.best
    same = rank(study(*THREE, confirmation=confirmed(0.05, 0.05)))
    assert same.recommended is not None
    assert same.recommended.settings == default_settings("adamw")
    assert same.baseline is not None
    assert same.baseline.trial.value == pytest.approx(0.05)
