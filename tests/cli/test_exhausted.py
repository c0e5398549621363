"""Memory that is used up, full disks and read-only folders: a message, an exit code, and nothing is lost."""

from __future__ import annotations

import gc
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from adamtune.search.loop import Loop

from .studies import Adamtune, write
from .test_faults import commit_often, fails, kept

LARGE: dict[str, Any] = {"hidden": [4096, 4096], "batch_size": 282, "epochs": 1}
"""One step, and 64 MiB of weights: more than the heap of a process may have left over."""
ENGINES: dict[str, dict[str, Any]] = {
    "population": {"engine": "population", "population": 2},
    "sequential": {"engine": "sequential"},
}
MIB = 2**20

# Memory


@contextmanager
def memory(mebibytes: int) -> Iterator[None]:
    """The process gets no more than so much memory on top of what it needs now."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("needs Linux's /proc")
    gc.collect()  # cycles of earlier runs hold hundreds of MiB, and would be freed in the middle
    size = int(statm.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + mebibytes * MIB, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "mebibytes"),
    [("population", 200), ("sequential", 40)],
)
def test_no_memory(engine: str, mebibytes: int, adamtune: Adamtune, tmp_path: Path) -> None:
    """To train what was begun, or to begin."""
    file = write(tmp_path / "study.yaml", task=LARGE, search={"trials": 1}, **ENGINES[engine])
    assert adamtune("search", file).code == 0
    before = kept(file)
    write(file, task=LARGE, search={"trials": 2}, **ENGINES[engine])
    with memory(mebibytes):
        fails(adamtune("search", file), 1, "memory is used up", "committed is kept", "smaller population")
    assert kept(file)[:1] == before
    assert adamtune("search", file).code == 0
    assert kept(file)[:1] == before
    assert len(kept(file)) == 2


@pytest.mark.parametrize("engine", [pytest.param("population", marks=pytest.mark.slow), "sequential"])
def test_no_memory_to_go_on(
    engine: str, adamtune: Adamtune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint that there is no room for is whole, and is said to be."""
    twice = LARGE | {"epochs": 2}
    file = write(tmp_path / "study.yaml", task=twice, search={"trials": 1}, **ENGINES[engine])
    with monkeypatch.context() as patched:
        patched.setattr(Loop, "_record", interrupted)
        assert adamtune("search", file).code == 130
    (checkpoint,) = tmp_path.glob("*.ckpt")
    for mebibytes in (40, 100):
        with memory(mebibytes):
            fails(adamtune("search", file), 1, "memory is used up")
        assert checkpoint.exists()
    assert adamtune("search", file).code == 0
    assert [state for _, state, _ in kept(file)] == ["COMPLETE"]


record = Loop._record


def interrupted(self: Loop, evaluations: Any) -> None:
    import signal

    record(self, evaluations)
    signal.raise_signal(signal.SIGINT)


# The disk


def test_a_disk_that_gets_full_during_the_search(
    adamtune: Adamtune, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(small_disk / "study.yaml", search={"trials": 12}, population=4)
    expected = write(small_disk / "another.yaml", name="t", search={"trials": 12}, population=4)
    assert adamtune("search", expected).code == 0
    commit_often(monkeypatch)
    ballast = small_disk / "ballast"
    commit = Loop._commit
    commits = 0

    def full(self: Loop) -> None:
        nonlocal commits
        commits += 1
        if commits == 4:
            fill_up(ballast)
        commit(self)

    with monkeypatch.context() as patched:
        patched.setattr(Loop, "_commit", full)
        fails(adamtune("search", file), 1, str(small_disk), "space")
    before = [each for each in kept(file) if each[1] != "RUNNING"]
    fails(adamtune("search", file), 1, str(small_disk))
    assert adamtune("report", "s", "--storage", small_disk / "studies.db").code == 0
    ballast.unlink()
    assert set(before) <= set(kept(file))
    assert adamtune("search", file).code == 0
    assert kept(file) == kept(file, "t")


def fill_up(ballast: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        write_zeros(ballast)


def write_zeros(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(512))


def without_privileges(*arguments: object) -> subprocess.CompletedProcess[str]:
    """``adamtune arguments`` in a process to which permissions apply, even if it is root's."""
    command = [sys.executable, "-m", "adamtune", *map(str, arguments)]
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("root may write anywhere, and there is no setpriv")
        gone = "-dac_override,-dac_read_search"
        command = [setpriv, "--inh-caps", gone, "--bounding-set", gone, *command]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_folder_that_may_not_be_written(adamtune: Adamtune, tmp_path: Path) -> None:
    file = write(tmp_path / "study.yaml")
    assert adamtune("search", file).code == 0
    before = kept(file)
    database = tmp_path / "studies.db"
    database.chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        ended = without_privileges("search", file)
        assert ended.returncode == 1, ended
        assert str(tmp_path) in ended.stderr
        assert "ermission" in ended.stderr or "read-only" in ended.stderr
        assert "as the storage" in ended.stderr
        assert "Traceback" not in ended.stderr
        assert without_privileges("report", "s", "--storage", database).returncode == 0
    finally:
        tmp_path.chmod(0o755)
        database.chmod(0o644)
    assert kept(file) == before
    write(file, search={"trials": 8})
    assert adamtune("search", file).code == 0
    assert kept(file)[:6] == before
