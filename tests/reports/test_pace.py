"""The trials a minute and the time left, with trials that are under way; the bar that goes with them."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from adamtune.reports.console import console
from adamtune.reports.live import progress_view, view
from adamtune.search.progress import Progress

from .records import trial

HALF_A_MINUTE = Progress(
    "digits-cnn", "val_loss", "minimize", 64, {"complete": 16, "running": 8}, 30.0, 8,
    last_batch=(trial(15, 0.2),),
)  # fmt: skip
"""Sixteen of sixty-four trials are over, eight of them of this run."""


def lines(progress: Progress) -> list[str]:
    return [line.plain for line in view(progress, 120, 30)]


def logged(progress: Progress) -> str:
    file = io.StringIO()
    with progress_view(console(file=file)) as observe:
        observe(progress)
    return file.getvalue().strip()


PACES = {
    "nothing under way": ({}, "16.0 trials/min, 3:00 left"),
    "half of each": ({"under_way": 4.0}, "24.0 trials/min, 1:50 left"),
    "nearly all": ({"under_way": 7.0}, "30.0 trials/min, 1:22 left"),
    "nothing ended yet": ({"ended": 0, "under_way": 2.0}, "4.00 trials/min, 11:30 left"),
    "other runs' trials are no pace": ({"ended": 2, "under_way": 2.0}, "8.00 trials/min, 5:45 left"),
    "diverged ones are over": (
        {"counts": {"complete": 10, "pruned": 4, "diverged": 2, "running": 8}, "under_way": 4.0},
        "24.0 trials/min, 1:50 left",
    ),
    "more than are asked for": (
        {"counts": {"complete": 63, "running": 2}, "under_way": 1.5},
        "19.0 trials/min, 0:00 left",
    ),
}


@pytest.mark.parametrize("name", PACES)
def test_pace_and_time_left(name: str) -> None:
    changed, expected = PACES[name]
    progress = replace(HALF_A_MINUTE, **changed)
    assert logged(progress).endswith(f"; {expected}")
    assert lines(progress)[2] == f"0:30 elapsed; {expected}"


@pytest.mark.parametrize("changed", [{"ended": 0}, {"elapsed": 0.0, "under_way": 4.0}])
def test_without_anything_trained_there_is_no_pace(changed: dict[str, float]) -> None:
    progress = replace(HALF_A_MINUTE, **changed)
    assert "trials/min" not in logged(progress)
    assert "left" not in lines(progress)[2]


def test_the_bar_counts_what_is_under_way() -> None:
    def drawn(progress: Progress) -> int:
        return lines(progress)[0].count("━")

    over = {"complete": 24, "running": 8}
    assert drawn(replace(HALF_A_MINUTE, under_way=8.0)) == drawn(replace(HALF_A_MINUTE, counts=over))
    assert drawn(HALF_A_MINUTE) < drawn(replace(HALF_A_MINUTE, under_way=8.0))
    assert lines(replace(HALF_A_MINUTE, under_way=8.0))[0].endswith(" 16/64")
