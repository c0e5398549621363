from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from adamtune.errors import Refused
from adamtune.storage.local.lock import study_lock
from adamtune.storage.location import local_path

HOLDER = """
import sys
from adamtune.storage.local.lock import study_lock
with study_lock(sys.argv[1], sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(location: str, name: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, location, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_one_process_a_study_and_the_next_at_once_when_it_is_killed(tmp_path: Path) -> None:
    location = str(tmp_path / "runs" / "studies.db")
    with hold(location, "s") as process:
        for _ in range(2):  # a refusal does not hide the holder from the next one
            with pytest.raises(Refused, match=f"process {process.pid}"), study_lock(location, "s"):
                pytest.fail("held twice")
        with study_lock(f"sqlite:///{location}", "other"):
            pass
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with study_lock(location, "s"):
            pass


def test_the_lock_is_free_after_an_error(tmp_path: Path) -> None:
    location = str(tmp_path / "studies.db")
    with pytest.raises(KeyError), study_lock(location, "s"):
        raise KeyError
    with study_lock(location, "s"):
        pass


def test_a_server_is_not_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with study_lock("postgresql://host/db", "s"), study_lock("postgresql://host/db", "s"):
        assert list(tmp_path.iterdir()) == []


def test_a_link_is_the_file_that_it_leads_to(tmp_path: Path) -> None:
    """Else two processes would train one study: what they lock is named after the path."""
    (tmp_path / "link.db").symlink_to("real.db")
    for exists in (False, True):
        if exists:
            (tmp_path / "real.db").touch()
        assert local_path(f"sqlite:///{tmp_path}/link.db") == tmp_path / "real.db"
        first, second = (study_lock(str(tmp_path / name), "s") for name in ("link.db", "real.db"))
        with first, pytest.raises(Refused), second:
            pass
