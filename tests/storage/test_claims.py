"""Of several processes on a server, one confirms a study."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.study import StudyDirection

from adamtune.config import StudyConfig
from adamtune.storage import processes
from adamtune.storage.processes import SharedSession
from adamtune.storage.server.storage import ServerStorage
from tests.search.studies import study


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyConfig:
    monkeypatch.setattr(processes, "WAIT_SECONDS", 0.0)
    return study(tmp_path)


@pytest.fixture
def sessions(file: StudyConfig, tmp_path: Path) -> Iterator[list[SharedSession]]:
    """Two processes' sessions; a file takes the place of the server."""
    storages = [ServerStorage(f"sqlite:///{tmp_path}/server.db") for _ in range(2)]
    storages[0].create_new_study([StudyDirection.MINIMIZE], file.name)
    yield [SharedSession(file, each) for each in storages]
    for each in storages:
        each.close()


def test_one_process_confirms(sessions: list[SharedSession]) -> None:
    first, second = sessions
    assert first.claim_confirmation()
    assert not second.claim_confirmation()
    assert first.claim_confirmation()


def test_a_dead_process_does_not_keep_its_claim(
    sessions: list[SharedSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = sessions
    now = 1e9
    monkeypatch.setattr(processes.time, "time", lambda: now)
    assert first.claim_confirmation()
    now += processes.GRACE_SECONDS - 1
    first.begin_commit(None)  # a sign of life
    now += processes.GRACE_SECONDS - 1
    assert not second.claim_confirmation()
    now += 2
    assert second.claim_confirmation()
    assert not first.claim_confirmation()
