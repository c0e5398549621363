"""The program that exports a study while it is trained, and what the search gets of it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path
from threading import Event, Timer
from types import SimpleNamespace
from typing import Any

import pytest

from adamtune.exports import follower
from adamtune.exports.follower import IDLE, NOTHING, SECONDS, Follower
from adamtune.exports.live import LiveExport, with_notes
from adamtune.exports.registry import Place
from adamtune.search.progress import Progress

NOW = Progress("s", "val_loss", "minimize", 4, {}, 1.0, 0)


class FlakyPlace:
    """A place whose first tries fail; it keeps the trials that were written."""

    def __init__(self, failures: int) -> None:
        self.failures, self.trials, self.closed = failures, set[int | None](), False

    def open(self, study: str) -> FlakyPlace:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the server is down")
        return self

    def write(self, run: Any) -> bool:
        self.trials.add(run.trial)
        return True

    def close(self) -> None:
        self.closed = True

    def __str__(self) -> str:
        return "mlflow:http://host"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "SECONDS", 0.01)
    monkeypatch.setattr(follower, "RETRY_SECONDS", 0.01)


def followed(place: Any, storage: Path, seconds: float) -> Follower:
    """A follower that ran for so long."""
    over = Event()
    if seconds:
        Timer(seconds, over.set).start()
    else:
        over.set()
    found = Follower(place, str(storage), "digits-cnn")
    found.run(over)
    return found


@pytest.mark.usefixtures("quick")
def test_it_tries_again_and_says_so_once(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = FlakyPlace(failures=3)
    found = followed(place, written, seconds=0.3)
    assert (found.failed, found.wrote, place.closed) == (False, True, True)
    assert place.trials == {None, 0, 1, 2, 3}
    assert capsys.readouterr().out == (
        "cannot write to mlflow:http://host: ConnectionError: the server is down (the search goes on)\n"
    )


def test_it_rests_most_of_the_time(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, rests = count(step=0.25), list[float]()
    monkeypatch.setattr(follower, "time", SimpleNamespace(process_time=lambda: next(clock)))

    class Over(Event):
        def wait(self, timeout: float | None = None) -> bool:
            rests.append(timeout or 0.0)
            self.set()
            return True

    Follower(FlakyPlace(failures=0), str(written), "digits-cnn").run(Over())  # type: ignore[arg-type]
    # After each of five runs, and what comes after the last.
    assert rests[:6] == [0.25 * IDLE] * 6
    assert rests[6] == SECONDS


def test_what_was_committed_last_is_written(written: Path) -> None:
    place = FlakyPlace(failures=0)
    assert followed(place, written, seconds=0).wrote
    assert place.trials == {None, 0, 1, 2, 3}


def test_a_failure_to_the_end_is_told(written: Path) -> None:
    assert followed(FlakyPlace(failures=99), written, seconds=0).failed


def test_a_study_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    found = followed(FlakyPlace(failures=0), tmp_path / "none.db", seconds=0)
    assert (found.failed, found.wrote) == (False, False)


def test_the_program_ends_when_its_search_is_gone(written: Path, tmp_path: Path) -> None:
    request = json.dumps(["tensorboard", str(tmp_path / "tb"), str(written), "digits-cnn"])
    command = [sys.executable, "-m", "adamtune.exports.follower"]
    text = f"{request}\n".encode()
    done = subprocess.run(command, input=text, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert len(list(tmp_path.glob("tb/digits-cnn/trial-*/*"))) == 4


def test_a_search_gets_its_failures(written: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    export = LiveExport(Place("tensorboard", f"{tmp_path}/file"), str(written), "digits-cnn")
    export.end()
    assert export.wait(60)
    export.close()
    assert export.code == 1
    (note,) = export.notes
    assert "cannot write to tensorboard:" in note
    assert "FileExistsError" in note or "NotADirectoryError" in note


def test_without_a_study_there_is_nothing_to_write(tmp_path: Path) -> None:
    export = LiveExport(Place("tensorboard", str(tmp_path)), str(tmp_path / "none.db"), "s")
    export.end()
    assert export.wait(60)
    export.close()
    assert (export.code, export.notes) == (NOTHING, [])


def test_notes_keep_the_order_in_which_they_come() -> None:
    seen: list[tuple[str, ...]] = []
    export = SimpleNamespace(notes=[])
    observe = with_notes(lambda progress: seen.append(progress.notes), [export])  # type: ignore[list-item]
    observe(replace(NOW, notes=("plan",)))
    export.notes.append("tracker is down")
    observe(replace(NOW, notes=("plan",)))
    observe(replace(NOW, notes=("plan", "a trial failed")))
    assert seen == [("plan",), ("plan", "tracker is down"), ("plan", "tracker is down", "a trial failed")]
