"""Watchers are told how much of the running trials' training is done."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from adamtune.search import loop
from adamtune.search.progress import Progress
from adamtune.search.run import run

from .studies import searched, study

PART = 0.1
"""Of a trial, at each of its ten evaluations."""


@pytest.mark.parametrize(
    ("together", "choice"), [(1, {"engine": "sequential"}), (4, {"population": 4})], ids=["one", "four"]
)
def test_what_is_under_way_grows_with_every_evaluation(
    together: int, choice: dict[str, object], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "COMMIT_SECONDS", 1e9)  # no pauses, which tell once more
    told: list[Progress] = []
    searched(study(folder, search={"trials": 2 * together}, **choice), told.append)
    expected = [together * PART * (evaluation % 10) for evaluation in range(1, 21)]
    assert [each.under_way for each in told] == pytest.approx(expected)
    assert [each.ended for each in told] == [0] * 9 + [together] * 10 + [2 * together]


def test_what_was_under_way_before_an_interruption_counts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "COMMIT_SECONDS", 1e9)
    file = study(folder, search={"trials": 2}, population=2)
    told: list[Progress] = []

    def observe(progress: Progress) -> None:
        told.append(progress)
        if len(told) == 3:
            signal.raise_signal(signal.SIGINT)

    assert run(file, observe).reason == "interrupted"
    assert run(file, observe).reason == "complete"
    expected = [2 * PART * (evaluation % 10) for evaluation in range(1, 11)]
    assert [each.under_way for each in told] == pytest.approx(expected)
