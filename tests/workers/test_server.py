"""Commands of a study on a database server, whose trials two searches train."""

from __future__ import annotations

from pathlib import Path

import pytest

from adamtune.storage.studies import read_study

from .programs import Search, write


@pytest.mark.slow
def test_two_searches_share_the_trials(tmp_path: Path, postgres: str) -> None:
    path = write(tmp_path, "command", task={"sleep": 0.1}, search={"trials": 12}, storage=postgres, workers=2)
    searches = [Search(path).start() for _ in range(2)]
    for each in searches:
        code, out = each.wait()
        assert code == 0, out
        assert not each.left()
    found = read_study(postgres, "s").trials
    assert [each.state for each in found] == ["complete"] * 12
    assert all(list(each.intermediate) == list(range(1, 11)) for each in found)
    logs = sorted((tmp_path / "runs" / "adamtune.db.s.trials").iterdir())
    assert len(logs) == 12
