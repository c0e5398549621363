"""``export --to``, and ``--log-to`` of searches that run as processes of their own."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Ended
from .processes import adamtune as process
from .processes import done, searching
from .studies import WILD, without_seconds, write

Adamtune = Callable[..., Ended]

TO = ("--to", "tensorboard:tb")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study file of which some trials diverge, and its folder as the working directory."""
    monkeypatch.chdir(tmp_path)
    return write(tmp_path / "s.yaml", search={"trials": 12})


def missing(adamtune: Adamtune, place: str = "tensorboard:tb") -> str:
    """What an export says that comes after a search has logged."""
    code, out, err = adamtune("export", "s", "--to", place, "--storage", "studies.db")
    assert (code, out) == (0, "")
    return err


@pytest.mark.slow
def test_a_search_that_is_logged_is_the_same(adamtune: Adamtune, file: Path) -> None:
    plain = ("--storage", "plain.db")
    assert process("search", file, *plain).code == 0
    logged = process("search", file, "--log-to", "tensorboard:tb")
    assert logged.code == 0, logged.err
    assert logged.err.splitlines()[-1] == "Logged to tensorboard:tb. View: tensorboard --logdir tb"
    reports = [
        without_seconds(adamtune("report", "s", "--format", "json", "--storage", each).out)
        for each in ("studies.db", "plain.db")
    ]
    assert reports[0] == reports[1]
    assert missing(adamtune).startswith("tensorboard:tb: 0 runs of s written, 13 were there. View: ")


@pytest.mark.parametrize("place", ["mlflow:sqlite:///mlflow.db", "wandb:wb"])
def test_other_trackers_are_logged_to(adamtune: Adamtune, file: Path, place: str) -> None:
    package = place.partition(":")[0]
    pytest.importorskip(package, reason=f"{package} is not installed")
    ended = process("search", file, "--log-to", place, "--trials", 4, "--confirm", "small")
    assert ended.code == 0, ended.err
    assert ended.err.splitlines()[-1].startswith(f"Logged to {place}. View: ")
    # In a process of its own: the libraries warn of much, which fails a test.
    again = process("export", "s", "--to", place, "--storage", "studies.db")
    assert again.err.startswith(f"{place}: 0 runs of s written, 5 were there. View: ")


@pytest.mark.slow
def test_a_resumed_search_continues_its_runs(adamtune: Adamtune, file: Path) -> None:
    more = ("--trials", "4000", "--log-to", "tensorboard:tb")
    with searching("search", file, *more, trials=5) as running:
        running.send_signal(signal.SIGINT)
        stopped = done(running)
    assert stopped.code == 130
    assert "Logged to tensorboard:tb" in stopped.err
    begun = len(list(Path("tb/s").glob("trial-*")))
    assert begun >= 5
    total = begun + 5
    resumed = process("resume", "s", "--storage", "studies.db", "--trials", total, *more[2:])
    assert resumed.code == 0, resumed.err
    assert sorted(each.name for each in Path("tb/s").glob("trial-*")) == [
        f"trial-{number:05}" for number in range(total)
    ]
    assert f" 0 runs of s written, {total + 1} were there" in missing(adamtune)


def test_a_tracker_that_fails_stops_nothing(adamtune: Adamtune, file: Path) -> None:
    Path("tb").touch()
    ended = process("search", file, "--log-to", "tensorboard:tb", "--confirm", "small")
    assert ended.code == 0
    assert "Traceback" not in ended.err
    assert ended.err.count("cannot write to tensorboard:tb: ") <= 1
    *_, said, command = ended.err.splitlines()
    assert said == "tensorboard:tb: not everything was written. Write it with:"
    later = command.strip().removeprefix(f"{sys.executable} -m adamtune ").split()
    assert later == ["export", "s", "--to", "tensorboard:tb", "--storage", str(file.parent / "studies.db")]
    Path("tb").unlink()
    assert adamtune(*later).code == 0
    assert len(list(Path("tb/s").glob("trial-*"))) == 12


def test_a_command_is_exported(adamtune: Adamtune, file: Path) -> None:
    program = Path("train.py")
    program.write_text("import sys, json\nprint(json.dumps({'step': 1, 'loss': float(sys.argv[1])}))\n")
    command = {"command": f"{sys.executable} train.py {{lr}}", "parameters": ["lr"]}
    study = {"name": "s", "storage": "studies.db", "space": {"lr": WILD}, "search": {"trials": 2}}
    study["task"] = {**command, "metrics": {"loss": "minimize"}}
    Path("c.yaml").write_text(json.dumps(study))
    assert adamtune("search", "c.yaml", "--log-to", "tensorboard:tb").code == 0
    assert " 0 runs of s written, 3 were there" in missing(adamtune)


@pytest.mark.parametrize("command", [["search", "s.yaml", "--log-to"], ["export", "s", "--to"]])
def test_a_place_is_checked_before_anything_is_written(
    adamtune: Adamtune, file: Path, command: list[str]
) -> None:
    for place in ("aim:x", "tensorboard:"):
        code, out, err = adamtune(*command, place)
        assert (code, out) == (2, "")
        assert err.startswith(f"{command[-1]} {place}: write a tracker and a place in it")
    assert [each.name for each in file.parent.iterdir()] == ["s.yaml"]


@pytest.mark.parametrize("options", [[], [*TO, "--settings", "s.json"], [*TO, "--trial", "0"]])
def test_one_thing_is_exported(adamtune: Adamtune, storage: Path, options: list[str]) -> None:
    ended = adamtune("export", "digits-cnn", *options, "--storage", storage)
    assert (ended.code, ended.out) == (2, "")
    assert "write one of --to KIND:PLACE and --settings FILE" in ended.err


def test_a_failing_tracker_is_named(adamtune: Adamtune, storage: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = adamtune("export", "digits-cnn", "--to", f"tensorboard:{tmp_path}/file", "--storage", storage)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"cannot write to tensorboard:{tmp_path}/file: ")
