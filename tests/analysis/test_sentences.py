"""What is said of each outcome."""

from __future__ import annotations

from typing import Any

import pytest

from adamtune.analysis.paired import Judgement, judge
from adamtune.analysis.sentences import digits, nothing_to_judge, sentence

BETTER = Judgement(
    outcome="better",
    difference=-0.01623,
    interval=(-0.02031, -0.01214),
    level=0.95,
    pairs=14,
    n=14,
    candidate_mean=0.05117,
    baseline_mean=0.0674,
    detectable=0.00987,
    candidate_failures=0,
    baseline_failures=0,
    direction="minimize",
)
AGAINST = "val_loss 0.0512 against 0.0674, lower by 0.0162 [0.0121, 0.0203] (95 %), on 14 fresh seeds each"
THESE = ", on these validation rows."
BETWEEN = "No difference from the default found: val_loss is between {} (95 %), on 14 fresh seeds each"
FOUND = f"{THESE[:-1]}; all pairs of the plan would find 0.0099 four times in five."
ROWS = (
    "Better than the default on these rows, not shown for new rows: val_loss 0.051 against 0.067, lower by"
    " 0.016 [-0.004, 0.036] (95 %), on 14 fresh seeds each. The 89 rows that the search never saw allow {}"
)
NONE_OF_14 = " None of 14 trainings diverged: the true rate is below 19 %."


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, f"Better than the default: {AGAINST}{THESE}{NONE_OF_14}"),
        (
            {"outcome": "worse", "direction": "maximize"},
            f"Worse than the default: {AGAINST}{THESE}{NONE_OF_14}",
        ),
        (
            {"outcome": "no_difference", "difference": -0.001, "interval": (-0.0063, 0.0043)},
            BETWEEN.format("0.0043 worse and 0.0063 better") + FOUND + NONE_OF_14,
        ),
        (
            {"outcome": "no_difference", "interval": (-0.0063, 0.0043), "direction": "maximize"},
            BETWEEN.format("0.0063 worse and 0.0043 better") + FOUND + NONE_OF_14,
        ),
        (
            {"outcome": "identical", "difference": 0.0, "interval": (0.0, 0.0)},
            "Identical to the default: val_loss is the same with each of 14 fresh seeds.",
        ),
        (
            {"outcome": "less_reliable", "pairs": 22, "candidate_failures": 8},
            f"Less reliable than the default. Where both finished: {AGAINST}{THESE}"
            " 8 of 22 trainings diverged, and 0 of 22 of the default.",
        ),
        (
            {"outcome": "more_reliable", "pairs": 8, "n": 0, "baseline_failures": 8}
            | dict.fromkeys(("difference", "interval", "candidate_mean", "baseline_mean", "detectable")),
            "More reliable than the default. 0 of 8 trainings diverged, and 8 of 8 of the default.",
        ),
        (
            {"outcome": "not_confirmed", "pairs": 15, "candidate_failures": 1},
            f"Not confirmed, because it diverged more often than the default: {AGAINST}{THESE}"
            " 1 of 15 trainings diverged, and 0 of 15 of the default.",
        ),
        (
            {"outcome": "not_confirmed", "pairs": 8, "n": 3, "candidate_failures": 4, "baseline_failures": 3},
            "Not confirmed: both trainings finished in 3 of 8 pairs only."
            " 4 of 8 trainings diverged, and 3 of 8 of the default.",
        ),
        (
            {"rows": 89, "row_half_width": 0.00401},
            f"Better than the default: {AGAINST}. The interval is for new rows, too: the 89 rows that the"
            f" search never saw allow 0.004 either way.{NONE_OF_14}",
        ),
        (
            {"outcome": "not_confirmed", "interval": (-0.0363, 0.0039), "rows": 89, "row_half_width": 0.0201},
            ROWS.format("0.02 either way by themselves: more rows are needed, not more seeds.") + NONE_OF_14,
        ),
        (
            {"outcome": "not_confirmed", "interval": (-0.0363, 0.0039), "rows": 89, "row_half_width": 0.0101},
            ROWS.format("0.01 either way: more rows or more seeds are needed.") + NONE_OF_14,
        ),
        (
            {"outcome": "not_confirmed", "pairs": 15, "candidate_failures": 1, "rows": 89}
            | {"row_half_width": 0.00401},
            f"Not confirmed, because it diverged more often than the default: {AGAINST}. The interval is for"
            " new rows, too: the 89 rows that the search never saw allow 0.004 either way."
            " 1 of 15 trainings diverged, and 0 of 15 of the default.",
        ),
        (
            {"outcome": "not_confirmed", "pairs": 15, "candidate_failures": 1, "rows": 89}
            | {"row_half_width": 0.0101, "direction": "maximize", "interval": (-0.0363, 0.0039)},
            ROWS.format("0.01 either way: more rows or more seeds are needed.").replace("Better", "Worse")
            + " 1 of 15 trainings diverged, and 0 of 15 of the default.",
        ),
        (
            {"outcome": "not_confirmed", "pairs": 8, "n": 3, "candidate_failures": 4, "baseline_failures": 3}
            | {"rows": 89, "row_half_width": 0.0101},
            "Not confirmed: both trainings finished in 3 of 8 pairs only."
            " 4 of 8 trainings diverged, and 3 of 8 of the default.",
        ),
        (
            {"outcome": "identical", "difference": 0.0, "interval": (0.0, 0.0), "rows": 89}
            | {"row_half_width": 0.0},
            "Identical to the default: val_loss is the same with each of 14 fresh seeds.",
        ),
        ({"outcome": None, "pairs": 5}, "Not decided after 5 pairs of trainings."),
        ({"outcome": "pass"}, f"Pass: {AGAINST}{THESE}{NONE_OF_14}"),
    ],
)
def test_outcomes(changes: dict[str, Any], said: str) -> None:
    assert sentence(BETTER._replace(**changes), "val_loss") == said


def test_the_value_of_the_search_beside_the_fresh_mean() -> None:
    optimistic = sentence(BETTER, "val_loss", "the baseline", searched=(0.0441, 0.0512))
    assert optimistic.startswith("Better than the baseline: ")
    assert optimistic.endswith(" Searched 0.0441, fresh 0.0512: the search's best is optimistic.")
    assert sentence(BETTER, "val_loss", searched=(0.06, 0.0512)).endswith(" Searched 0.0600, fresh 0.0512.")
    turned = BETTER._replace(direction="maximize")
    assert sentence(turned, "val_loss", searched=(0.06, 0.0512)).endswith("the search's best is optimistic.")


def test_every_finalist_diverged() -> None:
    assert nothing_to_judge(3) == (
        "Not confirmed: each of the search's best 3 trials diverged on a fresh seed."
    )


@pytest.mark.parametrize(
    ("half", "value", "written"),
    [
        (0.0041, 0.05117, "0.0512"),
        (0.0099, 0.05117, "0.0512"),
        (0.00999, 0.05117, "0.051"),  # rounded to two digits it is 0.010
        (41.0, 512.4, "512"),
        (4100.0, 51240.0, "51200"),
        (4.1e-10, 5.117e-9, "5.12e-9"),
        (4.1e-10, 0.0, "0e0"),
        (4.1e9, 5.117e10, "5.12e10"),
    ],
)
def test_two_digits_of_the_half_width(half: float, value: float, written: str) -> None:
    judgement = BETTER._replace(interval=(value - half, value + half))
    assert digits(judgement)(value) == written


def test_digits_without_noise() -> None:
    exact = judge([0.5] * 8, [0.75] * 8, "minimize")
    assert "0.5000 against 0.7500, lower by 0.2500 [0.2500, 0.2500]" in sentence(exact, "val_loss")
    same = judge([0.5] * 8, [0.5] * 8, "minimize")
    assert sentence(same, "val_loss", searched=(0.25, 0.5)).endswith(
        "Searched 0.2500, fresh 0.5000: the search's best is optimistic."
    )


@pytest.mark.parametrize(
    "outcome", ["better", "no_difference", "less_reliable", "not_confirmed", "identical"]
)
def test_something_is_said_of_pairs_without_values(outcome: Any) -> None:
    nothing = judge([None] * 8, [None] * 8, "minimize")
    assert sentence(nothing._replace(outcome=outcome), "val_loss")


def test_zero_has_no_sign() -> None:
    assert digits(BETTER._replace(interval=(0.4, 0.6)))(-1e-9) == "0.00"


def test_an_end_of_an_interval_that_is_not_0_is_not_written_as_0() -> None:
    close = BETTER._replace(interval=(-0.0324, -0.00004))
    assert "lower by 0.016 [4e-05, 0.032] (95 %)" in sentence(close, "val_loss")
