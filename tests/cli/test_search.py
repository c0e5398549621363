"""``search`` and ``resume`` around a search that is played back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adamtune.config import StudyConfig
from adamtune.search.progress import Observer, Outcome, Progress, Reason

from ..reports.records import trial
from .conftest import Ended

Adamtune = Callable[..., Ended]

NOW = Progress(
    "digits-cnn",
    "val_loss",
    "minimize",
    total=4,
    counts={"complete": 2, "pruned": 1, "diverged": 1},
    elapsed=42.0,
    ended=3,
    last_batch=(trial(3, state="pruned"),),
)


class Search:
    """Stands for ``adamtune.search.run``: keeps what it was asked, and ends as it was told."""

    def __init__(self, reason: Reason | BaseException, progress: Progress) -> None:
        self.reason, self.progress = reason, progress
        self.asked: tuple[Any, ...] = ()

    def run(self, study: StudyConfig, observe: Observer) -> Outcome:
        self.asked = (study,)
        return self._end(observe)

    def resume(
        self, location: str, name: str, overrides: dict[str, object], observe: Observer, abandon: bool
    ) -> Outcome:
        self.asked = (location, name, overrides, abandon)
        return self._end(observe)

    def _end(self, observe: Observer) -> Outcome:
        observe(self.progress)
        if isinstance(self.reason, BaseException):
            raise self.reason
        return Outcome(self.reason, self.progress)


@pytest.fixture
def playing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Search]:
    def play(reason: Reason | BaseException, progress: Progress = NOW) -> Search:
        search = Search(reason, progress)
        module = SimpleNamespace(run=search.run, resume=search.resume)
        monkeypatch.setitem(sys.modules, "adamtune.search.run", module)  # type: ignore[arg-type]
        return search

    return play


@pytest.fixture
def config(tmp_path: Path, storage: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(f"name: digits-cnn\ntask: cnn\nstorage: {storage}\n")
    return path


Playing = Callable[..., Search]


AGAIN = "Run the same command again to continue."


@pytest.mark.parametrize(
    ("reason", "ended", "elapsed", "first"),
    [
        ("complete", 4, 3.6, "4/4 trials done in 4 s"),
        ("complete", 3, 42.0, "4/4 trials done, 3 of them in this run, in 42 s"),
        ("complete", 4, 0.62, "4/4 trials done in 0.6 s"),
        ("already_complete", 0, 0.1, "Nothing to do: 4/4 trials done. Use --trials N to run more."),
        ("timeout", 4, 90.0, f"Stopped by the timeout: 4/4 trials done. {AGAIN}"),
        ("timeout", 3, 90.0, f"Stopped by the timeout: 4/4 trials done, 3 of them in this run. {AGAIN}"),
    ],
)
def test_result_at_the_end(
    adamtune: Adamtune, playing: Playing, config: Path, reason: Reason, ended: int, elapsed: float, first: str
) -> None:
    playing(reason, replace(NOW, ended=ended, elapsed=elapsed))
    code, out, err = adamtune("search", config)
    assert code == 0
    assert out.startswith(f"{first}\n\ndigits-cnn: val_loss, lowest first\n")
    assert "optimizer = torch.optim.AdamW(" in out
    assert err.startswith("4/4 trials, 2 complete, 1 pruned, 1 diverged")


def test_options_replace_the_files(adamtune: Adamtune, playing: Playing, config: Path, storage: Path) -> None:
    search = playing("complete")
    options = ("--trials", 9, "--timeout", "90s", "--seed", 7, "--name", "empty", "--storage", storage)
    assert adamtune("search", config, *options).code == 0
    (study,) = search.asked
    assert (study.search.trials, study.search.timeout, study.search.seed) == (9, 90.0, 7)
    assert (study.name, study.storage) == ("empty", str(storage))


def test_interrupted(adamtune: Adamtune, playing: Playing, config: Path, storage: Path) -> None:
    playing("interrupted")
    code, out, err = adamtune("search", config)
    assert code == 130
    assert out.startswith("digits-cnn: val_loss, lowest first\n")
    assert err.endswith(
        "\nInterrupted and saved: 4/4 trials done, 3 of them in this run."
        f" Continue with:\n  adamtune resume digits-cnn --storage {storage}\n"
    )


def test_interrupted_twice(adamtune: Adamtune, playing: Playing, config: Path, storage: Path) -> None:
    playing(KeyboardInterrupt())
    code, out, err = adamtune("search", config)
    assert (code, out) == (130, "")
    assert err.endswith(f"Continue with:\n  adamtune resume digits-cnn --storage {storage}\n")


def test_resume(adamtune: Adamtune, playing: Playing, storage: Path) -> None:
    search = playing("complete")
    code, out, _ = adamtune("resume", "digits-cnn", "--trials", 8, "--storage", storage)
    assert code == 0
    assert out.startswith("4/4 trials done")
    assert search.asked == (str(storage), "digits-cnn", {"search.trials": "8"}, False)


def test_wrong_option_is_told_before_anything_runs(
    adamtune: Adamtune, playing: Playing, config: Path
) -> None:
    search = playing("complete")
    code, out, err = adamtune("search", config, "--timeout", "soon")
    assert (code, out, search.asked) == (2, "", ())
    assert "--timeout" in err
    assert "soon" in err
