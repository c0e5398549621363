"""Journals: their file and its lock, and Optuna as another program that uses them."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import BaseStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import StudyDirection
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import TrialState

from adamtune.errors import AdamtuneError, Refused, UsageError
from adamtune.storage import processes
from adamtune.storage.journal import lock
from adamtune.storage.journal.connection import open_journal
from adamtune.storage.journal.storage import SharedJournal
from adamtune.storage.studies import delete_study, latest_study, list_studies, read_study

from .together import begun_together

X = {"x": FloatDistribution(0, 1)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "studies.log"


@pytest.fixture
def journal(path: Path) -> SharedJournal:
    return open_journal(path)


class TestJournal(StorageTestCase):
    @pytest.fixture
    def storage(self, journal: SharedJournal) -> BaseStorage:
        return journal


def in_optuna(path: Path) -> optuna.Study:
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    return optuna.load_study(study_name="s", storage=storage)


def test_optuna_reads_what_is_written_and_the_other_way_round(path: Path, journal: SharedJournal) -> None:
    study = optuna.create_study(storage=journal, study_name="s")
    for _ in range(3):
        trial = study.ask(X)
        trial.report(0.5, 1)
        study.tell(trial, trial.params["x"])
    theirs = in_optuna(path)
    assert theirs.trials == study.trials
    theirs.tell(theirs.ask(X), 0.25)
    assert study.best_value == min(0.25, theirs.best_value)


def test_a_study_is_read_listed_and_deleted(path: Path, journal: SharedJournal) -> None:
    study = optuna.create_study(storage=journal, study_name="s", direction="maximize")
    for value in (1.0, 3.0, float("inf")):
        study.tell(study.ask(X), value)
    study.ask()
    location = f"journal:{path}"
    assert [each.value for each in read_study(location, "s").trials] == [1.0, 3.0, float("inf"), None]
    listed = list_studies(location)[0]
    assert (listed.best, listed.counts["complete"], listed.counts["running"]) == (3.0, 3, 1)
    last = study.trials[-1].datetime_start
    assert last
    assert listed.last_activity == last
    assert latest_study(location) == "s"
    delete_study(location, "s")
    assert list_studies(location) == []
    with pytest.raises(UsageError, match="no study s"):
        read_study(location, "s")


def test_changes_of_a_transaction_are_written_together(path: Path, journal: SharedJournal) -> None:
    study_id = journal.create_new_study([StudyDirection.MINIMIZE], "s")
    before = path.read_bytes()
    with suppress(ZeroDivisionError), journal.transaction():
        trial_id = journal.create_new_trial(study_id)
        journal.set_trial_user_attr(trial_id, "k", [1, None])
        assert path.read_bytes() == before
        assert journal.get_trial(trial_id).user_attrs == {"k": [1, None]}
        raise ZeroDivisionError
    # What was read in the block has been used: it is written, although the block raised.
    assert open_journal(path).get_all_trials(study_id) == journal.get_all_trials(study_id)
    assert len(journal.get_all_trials(study_id)) == 1


# The file


@pytest.mark.parametrize("torn", [b"{", b'{"op_code":4,"worker_id":"a-1","study_id":0,"datetime_sta'])
def test_a_line_that_a_killed_process_left_is_replaced(
    torn: bytes, path: Path, journal: SharedJournal
) -> None:
    study_id = journal.create_new_study([StudyDirection.MINIMIZE], "s")
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    other = open_journal(path)
    assert path.read_bytes() == whole + torn  # reading changes nothing
    other.set_study_user_attr(study_id, "k", 1)
    assert path.read_bytes().startswith(whole + b'{"op_code":2')
    assert journal.get_study_user_attrs(study_id) == {"k": 1}


@pytest.mark.parametrize(
    "content", [b"SQLite format 3\0", b"name: s\n", b'{"a": 1}', b'{"a": 1}\n', b'{"op_code":"x"}\n']
)
def test_a_file_that_is_no_journal_is_left_as_it_is(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises((Refused, AdamtuneError), match=r"studies\.log"):
        open_journal(path)
    assert path.read_bytes() == content


def test_a_damaged_line_is_named(path: Path, journal: SharedJournal) -> None:
    journal.create_new_study([StudyDirection.MINIMIZE], "s")
    path.write_bytes(path.read_bytes() * 2 + b'{"op_code":2,,}\n' + path.read_bytes())
    with pytest.raises(AdamtuneError, match=r"studies\.log:3: .*damaged"):
        list_studies(f"journal:{path}")


def test_a_journal_that_was_cut_is_reported(path: Path, journal: SharedJournal) -> None:
    journal.create_new_study([StudyDirection.MINIMIZE], "s")
    path.write_bytes(b"")
    with pytest.raises(AdamtuneError, match="shorter than it was"):
        journal.get_all_studies()


def test_reading_creates_nothing(path: Path) -> None:
    with pytest.raises(UsageError, match="no such journal"):
        list_studies(f"journal:{path}")
    assert not path.exists()


def test_a_folder_that_cannot_be_made_is_reported(path: Path) -> None:
    path.write_text("")
    with pytest.raises(AdamtuneError, match=r"studies\.log"):
        open_journal(path / "in" / "a.log")


# The lock

HOLD = """
import sys, time
from pathlib import Path
from adamtune.storage.journal.lock import journal_lock
with journal_lock(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_the_lock_of_a_killed_process_is_free_at_once(path: Path, journal: SharedJournal) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout
    assert holder.stdout.readline() == "locked\n"
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(journal.create_new_study, [StudyDirection.MINIMIZE], "s")
        time.sleep(0.2)
        assert not writing.done()
        assert Path(f"{path}.lock").read_text().startswith(f"adamtune on {platform.node()} ")
        holder.kill()
        holder.communicate()
        writing.result(timeout=5)
    assert not Path(f"{path}.lock").exists()


@pytest.mark.parametrize("kind", ["optuna", "optuna's link", "another machine's"])
def test_the_lock_of_others_is_waited_for_and_broken_when_it_is_stale(
    kind: str, path: Path, journal: SharedJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "STALE_SECONDS", 0.3)
    held = Path(f"{path}.lock")
    if kind == "optuna":
        JournalFileOpenLock(str(path)).acquire()
    elif kind == "optuna's link":
        os.symlink(path, held)
    else:
        held.write_text("adamtune on elsewhere 17\n")
    began = time.monotonic()
    journal.create_new_study([StudyDirection.MINIMIZE], "s")
    assert time.monotonic() - began >= 0.3
    assert not held.is_symlink()
    assert not held.exists()


def test_optuna_waits_for_our_lock(path: Path, journal: SharedJournal) -> None:
    optuna.create_study(storage=journal, study_name="s")
    theirs = in_optuna(path)
    with ThreadPoolExecutor(1) as pool:
        with journal.transaction():
            asking = pool.submit(theirs.ask, X)
            time.sleep(0.1)
            assert not asking.done()
        assert asking.result(timeout=10).number == 0


# Several processes


def test_trials_of_a_dead_process_are_taken_over_by_one(
    path: Path, journal: SharedJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = optuna.create_study(
        storage=journal, study_name="s", pruner=optuna.pruners.SuccessiveHalvingPruner(1)
    )
    dead, finished = (study.ask(X) for _ in range(2))
    dead.report(0.5, 1)
    dead.should_prune()
    study.tell(finished, 1.0)
    first, second = open_journal(path), open_journal(path)
    alive = optuna.load_study(study_name="s", storage=second).ask(X)
    assert first.take_over(study._study_id, [], 9) == []
    monkeypatch.setattr(processes, "GRACE_SECONDS", 0.4)
    time.sleep(0.5)
    assert second.beat([alive._trial_id]) == set()
    assert first.take_over(study._study_id, [], 0) == []
    assert first.take_over(study._study_id, [dead._trial_id], 9) == []
    assert first.take_over(study._study_id, [], 9) == [dead._trial_id]
    assert second.take_over(study._study_id, [], 9) == []
    assert journal.beat([dead._trial_id]) == {dead._trial_id}
    assert first.beat([dead._trial_id]) == set()
    found = first.get_trial(dead._trial_id)
    assert (found.state, found.params) == (TrialState.RUNNING, dead.params)
    # What the dead process reported, and how it was judged, would be held against it.
    assert found.intermediate_values == {}
    assert list(found.system_attrs) == [processes.OWNER]
    assert open_journal(path).get_trial(dead._trial_id) == found


def test_trials_that_are_left_are_taken_over_at_once(path: Path, journal: SharedJournal) -> None:
    study = optuna.create_study(storage=journal, study_name="s")
    trials = [study.ask(X)._trial_id for _ in range(3)]
    trial = journal.get_trial(trials[0])
    journal.set_trial_intermediate_value(trials[0], 1, 0.5)
    journal.leave(trials)
    assert open_journal(path).get_trial(trials[0]).intermediate_values == {1: 0.5}  # for reports
    other = open_journal(path)
    assert other.take_over(study._study_id, [], 2) == trials[:2]
    assert other.get_trial(trials[0]).params == trial.params


def test_of_those_that_ask_at_once_none_goes_past_the_limit(path: Path, journal: SharedJournal) -> None:
    study_id = journal.create_new_study([StudyDirection.MINIMIZE], "s")
    journal.set_trial_state_values(journal.create_new_trial(study_id), TrialState.FAIL)
    assert begun_together(lambda: closing(open_journal(path)), study_id, 10) == 10
    assert [each.number for each in journal.get_all_trials(study_id)] == list(range(11))
