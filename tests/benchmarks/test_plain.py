"""The baselines run, and their figures hang together."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize("pruner", ["none", "median"])
def test_plain_trains_the_trials_it_is_asked_for(tmp_path: Path, pruner: str) -> None:
    storage = tmp_path / "plain.db"
    done = run(
        *("benchmarks.plain", "mlp", "--settings", '{"epochs": 2}', "--trials", "12"),
        *("--processes", "2", "--storage", str(storage), "--pruner", pruner),
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    # Two processes may each start the last trial at the same moment.
    assert figures["trials"] in (12, 13)
    assert (figures["pruned"] > 0) <= (pruner == "median")
    times, values = zip(*figures["improvements"], strict=True)
    assert list(times) == sorted(times)
    assert list(values) == sorted(values, reverse=True)
    assert figures["best"] == values[-1] < 2
    assert figures["target_seconds"] is None
    assert figures["steps_per_second_of_a_process"] > 0


@pytest.mark.slow
def test_plain_stops_at_its_target(tmp_path: Path) -> None:
    done = run(
        *("benchmarks.plain", "mlp", "--settings", '{"epochs": 2}', "--trials", "50"),
        *("--processes", "2", "--storage", str(tmp_path / "plain.db"), "--target", "5"),
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["trials"] < 50
    assert figures["target_seconds"] == figures["improvements"][0][0] < figures["seconds"]


def test_plain_starts_from_nothing(tmp_path: Path) -> None:
    storage = tmp_path / "plain.db"
    storage.touch()
    done = run("benchmarks.plain", "mlp", "--trials", "2", "--storage", str(storage))
    assert done.returncode == 2
    assert "name a new file" in done.stderr


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_plain_ray_says_when_ray_is_missing() -> None:
    done = run("benchmarks.plain_ray", "mlp", "--trials", "2")
    assert (done.returncode, done.stdout) == (0, "")
    assert "Ray is not installed" in done.stderr
