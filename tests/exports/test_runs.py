"""What trackers get of a study."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from .records import BEGAN, NAME, ended, runs_of, states


def test_the_study_comes_first_then_each_trial() -> None:
    study, *trials = runs_of(states())
    assert (study.study, study.trial, study.name) == (NAME, None, NAME)
    assert [each.trial for each in trials] == [0, 1, 2, 3, 4, 5]
    assert trials[5].name == "trial 5"
    assert [each.state for each in trials] == [each.state for each in states().trials]


def test_a_trial_has_its_settings_as_trained() -> None:
    record, run = states().trials[0], runs_of(states())[1]
    assert run.params == record.settings
    assert run.params["beta1"] == 0.91
    assert run.points["val_loss"] == record.intermediate
    assert run.points["val_accuracy"] == {230: 0.986}
    assert run.points["seconds"] == {230: 0.31}
    assert (run.tags["study"], run.tags["state"], run.tags["seeds"]) == (NAME, "complete", "[0.21]")
    assert run.tags["versions"] == "adamtune 0.4.0, torch 2.13.0"
    assert (run.begun, run.ended) == (BEGAN, BEGAN + timedelta(seconds=1))


def test_a_diverged_trial_has_its_step() -> None:
    run = runs_of(states())[2]
    assert (run.state, run.tags["diverged_at"]) == ("diverged", "24")


def test_a_running_trial_has_its_curve_alone() -> None:
    run = runs_of(states())[6]
    assert (run.state, run.points, run.ended) == ("running", {"val_loss": {23: 0.5}}, None)


def test_a_study_runs_while_a_trial_does() -> None:
    assert [runs_of(each)[0].state for each in (states(), ended())] == ["running", "complete"]


def test_rows_have_every_metric_of_a_step() -> None:
    assert runs_of(states())[4].rows == [
        (23, {"val_loss": 0.4}),
        (46, {"val_loss": 0.3, "seconds": 0.31, "val_accuracy": 0.986}),
    ]


@pytest.mark.parametrize("number", range(7))
def test_a_fingerprint_tells_what_changed(number: int) -> None:
    one, other = runs_of(states())[number], runs_of(ended())[number]
    assert one.fingerprint == runs_of(states())[number].fingerprint
    # The study, and the trial that ended.
    assert (one.fingerprint != other.fingerprint) == (number in (0, 6))


def test_a_trial_of_another_program_has_its_value() -> None:
    study = states()
    foreign = replace(study.trials[0], intermediate={}, metrics={}, steps=0)
    run = runs_of(replace(study, trials=[foreign]))[1]
    assert run.points["val_loss"] == {0: 0.21}
