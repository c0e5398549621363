"""Searches of functions and commands: accounting, faults, interruptions; no process is ever left."""

from __future__ import annotations

import signal
import sqlite3
from pathlib import Path

import pytest

from .programs import Search, failures, trials, until, write

KINDS = ("function", "command")
FAULTS = {"code": "exit code 7", "segfault": "killed by SIGSEGV", "fork": "exit code 3"}
FUNCTION_FAULTS = {**FAULTS, "raise": "KeyError: 'no such column'", "exit": "before the function returned"}


def ended(folder: Path) -> int:
    """The trials that have ended at the last commit."""
    if not (folder / "s.db").exists():
        return 0
    with sqlite3.connect(f"file:{folder / 's.db'}?mode=ro", uri=True) as connection:
        query = "SELECT count(*) FROM trials WHERE state IN ('COMPLETE', 'PRUNED')"
        try:
            return int(connection.execute(query).fetchone()[0])
        except sqlite3.OperationalError:
            return 0
        finally:
            connection.rollback()


@pytest.mark.parametrize("kind", KINDS)
def test_every_report_is_kept(tmp_path: Path, kind: str) -> None:
    search = Search(write(tmp_path, kind, workers=2))
    code, out = search.run()
    assert code == 0, out
    found = trials(tmp_path)
    assert [each["number"] for each in found] == [0, 1, 2, 3]
    for each in found:
        curve = list(each["intermediate"].values())
        assert each["state"] == "complete"
        assert list(each["intermediate"]) == list(range(1, 11))
        assert curve[0] > 1.9 * curve[1] > 0
        assert each["value"] == curve[-1] == each["metrics"]["val_loss"]
        assert (
            (tmp_path / "s.db.s.trials" / f"trial-{each['number']}.log")
            .read_text()
            .startswith("training with")
        )
    assert not search.left()
    assert not [each for each in (tmp_path / "s.db.s.trials").iterdir() if each.is_dir()]


@pytest.mark.parametrize("kind", KINDS)
def test_a_study_of_one_worker_is_repeated_exactly(tmp_path: Path, kind: str) -> None:
    results = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        search = {"trials": 8, "sampler": "tpe", "pruner": "median"}
        code, out = Search(write(folder, kind, search=search)).run()
        assert code == 0, out
        results.append(trials(folder))
    assert results[0] == results[1]
    assert {each["state"] for each in results[0]} == {"complete", "pruned"}


def test_seeds_are_judged_together(tmp_path: Path) -> None:
    code, out = Search(write(tmp_path, "function", workers=2, search={"trials": 3, "seeds": 3})).run()
    assert code == 0, out
    for each in trials(tmp_path):
        assert each["state"] == "complete"
        assert list(each["intermediate"]) == list(range(1, 11))
    logs = sorted(each.name for each in (tmp_path / "s.db.s.trials").iterdir())
    assert logs[:3] == ["trial-0.log", "trial-0.seed-1.log", "trial-0.seed-2.log"]


@pytest.mark.parametrize(
    ("kind", "fault"),
    [*(("function", each) for each in FUNCTION_FAULTS), *(("command", each) for each in FAULTS)],
)
def test_a_fault_fails_its_trial_alone(tmp_path: Path, kind: str, fault: str) -> None:
    space = {"task": {"fault": ["none", fault]}}
    search = Search(write(tmp_path, kind, space=space, search={"trials": 3}, workers=2))
    code, out = search.run()
    assert code == 0, out
    found = trials(tmp_path)
    assert sum(each["state"] == "complete" for each in found) == 3
    assert all(each["params"]["fault"] == "none" for each in found if each["state"] == "complete")
    assert failures(tmp_path)
    assert all(FUNCTION_FAULTS[fault] in each for each in failures(tmp_path))
    assert all("training with" in each for each in failures(tmp_path))
    assert not search.left()


@pytest.mark.parametrize("kind", KINDS)
def test_a_trial_that_hangs_is_killed(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adamtune.engines.workers.process.GRACE_SECONDS", 0.3)
    path = write(tmp_path, kind, task={"fault": "hang"}, search={"trial_timeout": 1, "max_failures": 1})
    search = Search(path)
    code, out = search.run()
    assert code == 1
    assert "1 trials failed one after the other" in out or "Trial 0 failed" in out
    assert "the trial_timeout" in failures(tmp_path)[0]
    assert not search.left()


def test_much_output_is_not_kept(tmp_path: Path) -> None:
    search = Search(write(tmp_path, "command", task={"fault": "output"}, search={"trials": 1}))
    code, out = search.run()
    assert code == 0, out
    assert list(trials(tmp_path)[0]["intermediate"]) == list(range(1, 11))
    assert (tmp_path / "s.db.s.trials" / "trial-0.log").stat().st_size < 4 * 2**20


def test_reports_in_a_file(tmp_path: Path) -> None:
    code, out = Search(write(tmp_path, "command", task={"fault": "file"}, search={"trials": 1})).run()
    assert code == 0, out
    assert list(trials(tmp_path)[0]["intermediate"]) == list(range(1, 11))


@pytest.mark.parametrize("kind", KINDS)
def test_a_study_that_only_fails_ends(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind, task={"fault": "code"}, search={"trials": 50, "max_failures": 3})
    search = Search(path)
    code, out = search.run()
    assert code == 1
    assert "3 trials failed one after the other" in out
    assert "exit code 7" in out
    assert "Traceback" not in out.partition("Trial")[0]
    assert len([each for each in trials(tmp_path) if each["state"] == "failed"]) == 3
    assert not search.left()


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_search_continues_exactly(tmp_path: Path, kind: str) -> None:
    search = {"trials": 7, "sampler": "tpe", "pruner": "median"}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for each in (whole, parts):
        each.mkdir()
    assert Search(write(whole, kind, task={"sleep": 0.03}, search=search)).run()[0] == 0
    path = write(parts, kind, task={"sleep": 0.03}, search=search)
    killed = Search(path).start()
    until(lambda: ended(parts) >= 2)
    killed.kill()
    assert not killed.left()
    code, out = Search(path).run()
    assert code == 0, out
    assert trials(parts) == trials(whole)


def test_a_killed_training_continues_from_its_checkpoint(tmp_path: Path) -> None:
    path = write(tmp_path, "function", task={"sleep": 0.2, "checkpoints": True}, search={"trials": 2})
    kept = tmp_path / "s.db.s.trials" / "trial-0" / "checkpoint"
    killed = Search(path).start()
    until(lambda: any(tmp_path.glob("s.db.s.*.ckpt")) and any(kept.glob("checkpoint-*")))
    killed.kill()
    assert not killed.left()
    code, out = Search(path).run()
    assert code == 0, out
    for each in trials(tmp_path):
        assert each["state"] == "complete"
        assert list(each["intermediate"]) == list(range(1, 11))
    lines = (tmp_path / "s.db.s.trials" / "trial-0.log").read_text().splitlines()
    first = [int(line.split()[-1]) for line in lines if line.startswith("first step")]
    assert (first[0], len(first)) == (1, 2)
    assert first[1] > 1


@pytest.mark.parametrize(("kind", "number"), [("function", signal.SIGKILL), ("command", signal.SIGTERM)])
def test_no_child_outlives_the_search(tmp_path: Path, kind: str, number: signal.Signals) -> None:
    search = Search(write(tmp_path, kind, task={"sleep": 0.2, "fault": "children"}, workers=2)).start()
    until(lambda: len([each for each in search.processes() if each.startswith("sleep")]) >= 8)
    search.signal(number)
    code, _ = search.wait()
    assert code == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    assert not search.left()


def test_an_interrupted_search_continues(tmp_path: Path) -> None:
    path = write(tmp_path, "function", task={"sleep": 0.05}, search={"trials": 6}, workers=2)
    search = Search(path).start()
    until(lambda: ended(tmp_path) >= 1)
    search.signal(signal.SIGINT)
    code, out = search.wait()
    assert code == 130, out
    assert not search.left(0.1)
    code, out = Search(path).run()
    assert code == 0, out
    assert [each["state"] for each in trials(tmp_path)] == ["complete"] * 6


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_trials(tmp_path: Path, kind: str) -> None:
    search = {"trials": 100, "sampler": "tpe", "pruner": "median"}
    path = write(tmp_path, kind, task={"sleep": 0.02}, search=search, workers=2)
    for count in (20, 60):
        killed = Search(path).start()
        until(lambda count=count: ended(tmp_path) >= count, 300)
        killed.kill()
        assert not killed.left()
    last = Search(path)
    code, out = last.start().wait(600)
    assert code == 0, out
    found = trials(tmp_path)
    assert [each["number"] for each in found] == list(range(100))
    assert {each["state"] for each in found} == {"complete", "pruned"}
    assert all(each["steps"] == max(each["intermediate"]) for each in found)
    assert sum(each["state"] == "pruned" for each in found) > 10
    assert not last.left()
