from __future__ import annotations

import os
import pickle
import random
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from optuna.study import StudyDirection

from adamtune.errors import AdamtuneError
from adamtune.storage.local.checkpoints import COMMIT_ATTR, Checkpoints, load, save
from adamtune.storage.local.storage import LocalStorage

from .conftest import commit

STATE: dict[str, Any] = {
    "parameters": torch.arange(6.0).reshape(2, 3),
    "random": torch.get_rng_state(),
    "half": torch.ones(2, dtype=torch.bfloat16),
    "steps": {0: [1, 2], 1: (3, None)},
    "name": "ü",
    "loss": float("inf"),
    "flag": True,
}


def begin(storage: LocalStorage, name: str = "s") -> tuple[int, Checkpoints]:
    return storage.create_new_study([StudyDirection.MINIMIZE], name), Checkpoints(storage.path, name)


def files(storage: LocalStorage) -> list[str]:
    return sorted(path.name for path in storage.path.parent.iterdir() if ".ckpt" in path.name)


def test_a_state_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    save(tmp_path / "a.ckpt", STATE)
    back = load(tmp_path / "a.ckpt")
    assert back.keys() == STATE.keys()
    for key, value in STATE.items():
        if isinstance(value, torch.Tensor):
            assert back[key].dtype == value.dtype
            assert torch.equal(back[key], value)
        else:
            assert back[key] == value
    assert [path.name for path in tmp_path.iterdir()] == ["a.ckpt"]


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", {1.5: 0}, [{"deep": Path()}], StudyDirection])
def test_only_tensors_and_plain_values_are_saved(tmp_path: Path, value: object) -> None:
    with pytest.raises(TypeError, match="state"):
        save(tmp_path / "a.ckpt", {"value": value})
    assert list(tmp_path.iterdir()) == []


class Payload:
    """What a pickle can do: run a command when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_loading_never_runs_code(tmp_path: Path, writer: str) -> None:
    trap, path = tmp_path / "trap", tmp_path / "a.ckpt"
    if writer == "torch":
        torch.save({"state": Payload(trap)}, path)
    else:
        path.write_bytes(pickle.dumps({"state": Payload(trap)}))
    with pytest.raises(AdamtuneError, match="damaged, or not a checkpoint"):
        load(path)
    assert not trap.exists()


def test_each_commit_has_its_checkpoint_and_the_last_one_none(storage: LocalStorage) -> None:
    study_id, checkpoints = begin(storage)
    assert checkpoints.restore(storage, study_id) is None
    for round_ in range(3):
        storage.create_new_trial(study_id)
        commit(checkpoints, storage, study_id, {"round": round_})
        assert files(storage) == [f"studies.db.s.{round_ + 1}.ckpt"]
        with closing(LocalStorage(storage.path)) as again:
            assert len(again.get_all_trials(study_id)) == round_ + 1
            assert checkpoints.restore(again, study_id) == {"round": round_}
    commit(checkpoints, storage, study_id, None)
    assert files(storage) == []
    assert checkpoints.restore(storage, study_id) is None


def test_a_commit_that_was_begun_is_made_while_training_goes_on(storage: LocalStorage) -> None:
    study_id, checkpoints = begin(storage)
    storage.create_new_trial(study_id)
    checkpoints.begin(storage, study_id, STATE)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with closing(LocalStorage(storage.path)) as again:
            if again.get_n_trials(study_id):
                assert checkpoints.restore(again, study_id) is not None
                break
    else:
        pytest.fail("it waits for somebody to finish it")
    checkpoints.finish()


def test_a_commit_that_was_begun_is_made_before_a_storage_is_closed(database: Path) -> None:
    """What trains may fail meanwhile: that costs nothing that was trained before."""
    with closing(LocalStorage(database)) as storage:
        study_id, checkpoints = begin(storage)
        storage.create_new_trial(study_id)
        checkpoints.begin(storage, study_id, STATE)
        checkpoints.close()
    with closing(LocalStorage(database)) as again:
        assert len(again.get_all_trials(study_id)) == 1
        assert checkpoints.restore(again, study_id) is not None


def test_a_commit_that_fails_says_so_when_it_is_waited_for(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    study_id, checkpoints = begin(storage)
    commit(checkpoints, storage, study_id, {"round": 0})
    storage.create_new_trial(study_id)
    with monkeypatch.context() as broken:
        broken.setattr("os.fsync", fail)
        checkpoints.begin(storage, study_id, {"round": 1})
        with pytest.raises(AdamtuneError, match="no space"):
            checkpoints.finish()
    with closing(LocalStorage(storage.path)) as again:
        assert again.get_all_trials(study_id) == []
        assert checkpoints.restore(again, study_id) == {"round": 0}
    checkpoints.finish()
    commit(checkpoints, storage, study_id, {"round": 2})
    with closing(LocalStorage(storage.path)) as again:
        assert len(again.get_all_trials(study_id)) == 1
        assert checkpoints.restore(again, study_id) == {"round": 2}


def fail(descriptor: int) -> None:
    raise OSError(28, "no space")


def test_studies_of_one_file_keep_their_checkpoints_apart(storage: LocalStorage) -> None:
    first, second = begin(storage, "a"), begin(storage, "a.1")
    for study_id, checkpoints in (first, second, first):
        commit(checkpoints, storage, study_id, {"study": study_id})
    assert [pair[1].restore(storage, pair[0]) for pair in (first, second)] == [
        {"study": first[0]},
        {"study": second[0]},
    ]
    first[1].remove()
    assert second[1].restore(storage, second[0]) == {"study": second[0]}


def test_leftovers_of_a_kill_are_passed_over_and_cleared(storage: LocalStorage) -> None:
    study_id, checkpoints = begin(storage)
    commit(checkpoints, storage, study_id, {"round": 0})
    stem = f"{storage.path}.s."
    Path(f"{stem}2.ckpt").write_bytes(b"written, and killed before the commit")
    Path(f"{stem}3.ckpt.tmp").write_bytes(b"half")
    assert checkpoints.restore(storage, study_id) == {"round": 0}
    commit(checkpoints, storage, study_id, {"round": 1})
    assert files(storage) == ["studies.db.s.2.ckpt"]
    assert checkpoints.restore(storage, study_id) == {"round": 1}


def test_a_missing_cut_or_foreign_checkpoint_is_reported(storage: LocalStorage) -> None:
    study_id, checkpoints = begin(storage)
    commit(checkpoints, storage, study_id, STATE)
    path = Path(f"{storage.path}.s.1.ckpt")
    content = path.read_bytes()
    for damage, reason in ((content[: len(content) // 2], "damaged"), (b"", "damaged"), (None, "missing")):
        path.unlink()
        if damage is not None:
            path.write_bytes(damage)
        else:
            assert not path.exists()
        with pytest.raises(AdamtuneError, match=reason):
            checkpoints.restore(storage, study_id)
        path.write_bytes(content)
    storage.set_study_system_attr(study_id, COMMIT_ATTR, {"number": 2, "checkpoint": True})
    path.rename(f"{storage.path}.s.2.ckpt")
    with pytest.raises(AdamtuneError, match=r"belongs to commit 1 of study s, not to commit 2 of s"):
        checkpoints.restore(storage, study_id)


ENDLESS = """
import sys, torch
from optuna.study import StudyDirection
from adamtune.storage.local.checkpoints import Checkpoints
from adamtune.storage.local.storage import LocalStorage
storage = LocalStorage(sys.argv[1])
study_id = storage.get_study_id_from_name("s")
checkpoints = Checkpoints(storage.path, "s")
print("ready", flush=True)
while True:
    number = len(storage.get_all_trials(study_id, deepcopy=False))
    storage.create_new_trial(study_id)
    checkpoints.begin(storage, study_id, {"trials": torch.full((20_000,), number + 1)})
    checkpoints.finish()
"""


@pytest.mark.parametrize("kills", [2, pytest.param(25, marks=pytest.mark.slow)])
def test_a_kill_at_any_moment_leaves_a_commit_and_its_checkpoint(database: Path, kills: int) -> None:
    with closing(LocalStorage(database)) as storage:
        study_id, checkpoints = begin(storage)
    draw = random.Random(0)
    reached = 0
    for _ in range(kills):
        process = subprocess.Popen([sys.executable, "-c", ENDLESS, str(database)], stdout=subprocess.PIPE)
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(draw.uniform(0.05, 0.3))
            os.kill(process.pid, signal.SIGKILL)
        with closing(LocalStorage(database)) as storage:
            trials = storage.get_all_trials(study_id)
            state = checkpoints.restore(storage, study_id)
        assert len(trials) > reached
        assert state is not None
        assert torch.equal(state["trials"], torch.full((20_000,), len(trials)))
        reached = len(trials)
