"""Each private name of Optuna that the adapter uses: what a new version of Optuna would break fails here."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import SuccessiveHalvingPruner
from optuna.samplers import RandomSampler
from optuna.storages import InMemoryStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from adamtune.storage import optuna_private
from adamtune.storage.optuna_private import (
    DEFAULT_STUDY_NAME_PREFIX,
    METRIC_NAMES,
    RUNG,
    JournalHooks,
    MemoryStorage,
    NewTrialHooks,
    TrialsView,
    ask_parameter,
    behind_cache,
    new_frozen_study,
    server_tables,
    storage_of,
    study_id,
    trial_id,
)

ROOT = Path(__file__).parents[2]
MINIMIZE = [StudyDirection.MINIMIZE]


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study(study_name="s", sampler=RandomSampler(seed=0))


def test_ids_are_those_of_the_storage(study: optuna.Study) -> None:
    storage = storage_of(study)
    trial = study.ask()
    assert storage.get_study_name_from_id(study_id(study)) == "s"
    assert storage.get_trial(trial_id(trial)).number == trial.number == 0
    assert study_id(storage.get_all_studies()[0]) == study_id(study)
    assert trial_id(study.trials[0]) == trial_id(trial)


def test_the_storage_is_the_one_that_the_study_calls(study: optuna.Study) -> None:
    storage_of(study).set_study_user_attr(study_id(study), "k", 1)
    assert study.user_attrs == {"k": 1}


def test_objectives_are_named_by_an_attribute(study: optuna.Study) -> None:
    storage_of(study).set_study_system_attr(study_id(study), METRIC_NAMES, ["val_loss"])
    assert study.metric_names == ["val_loss"]


def test_a_parameter_is_asked_for_once_and_kept(study: optuna.Study) -> None:
    trial = study.ask()
    found = ask_parameter(trial, "x", FloatDistribution(0, 1))
    assert ask_parameter(trial, "x", FloatDistribution(0, 1)) == found == study.trials[0].params["x"]


def test_studies_without_a_name_get_optunas() -> None:
    assert optuna.create_study().study_name.startswith(DEFAULT_STUDY_NAME_PREFIX)


def test_a_frozen_study_is_what_storages_list(study: optuna.Study) -> None:
    study.set_user_attr("k", 1)
    (listed,) = storage_of(study).get_all_studies()
    assert new_frozen_study(study_id(study), "s", MINIMIZE, {"k": 1}, {}) == listed


def test_samplers_see_the_view(study: optuna.Study) -> None:
    seen: list[int] = []

    class Half(TrialsView):
        def view(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
            return trials[::2]

    class Watching(RandomSampler):
        def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
            seen.append(len(study._get_trials(deepcopy=False, states=(TrialState.COMPLETE,))))

    study.optimize(lambda trial: 1.0, n_trials=4)
    view = Half("s", storage_of(study), Watching())
    view.ask()
    assert seen == [2]
    assert [each.number for each in view.get_trials(states=(TrialState.COMPLETE,))] == [0, 2]


def test_a_storage_may_say_that_no_trial_was_enqueued() -> None:
    class Telling(InMemoryStorage):
        told = False

        def has_waiting(self, study_id: int) -> bool:
            return self.told

    storage = Telling()
    optuna.create_study(study_name="s", storage=storage).enqueue_trial({"x": 0.5})
    study = TrialsView("s", storage, RandomSampler())
    assert study.ask().number == 1
    storage.told = True
    assert study.ask().number == 0


class Remembered(MemoryStorage):
    """Adds study 7 with one trial, whose id is 70, when either is asked for."""

    def load_study(self, study_id: int) -> None:
        if study_id == 7:
            trial = optuna.trial.create_trial(value=0.5)
            trial._trial_id, trial.number = 70, 0
            self.add_study(new_frozen_study(7, "old", MINIMIZE, {"k": 1}, {}), [trial])

    def load_study_of(self, trial_id: int) -> None:
        if trial_id == 70:
            self.load_study(7)


def test_a_study_is_added_when_it_is_asked_for() -> None:
    by_study, by_trial = Remembered(), Remembered()
    assert by_study.get_study_user_attrs(7) == {"k": 1}
    assert by_study.get_study_id_from_name("old") == 7
    assert by_trial.get_trial(70).value == 0.5
    assert by_trial.study_of(70) == 7
    assert by_study.get_best_trial(7).number == 0
    for missing in (lambda: by_study.get_study_name_from_id(8), lambda: by_study.get_trial(71)):
        with pytest.raises(KeyError):
            missing()


def test_the_next_trial_has_the_id_that_was_set() -> None:
    storage = Remembered()
    storage.set_next_trial_id(99)
    assert storage.create_new_trial(7) == 99
    assert storage.get_trial(99).number == 1


def test_a_trial_is_replaced_by_an_equal_copy_until_it_has_ended() -> None:
    storage = Remembered()
    trial_id = storage.create_new_trial(7)
    storage.set_trial_user_attr(trial_id, "a", 1)
    before = storage.get_trial(trial_id)
    after = storage.replaced(trial_id)
    assert storage.get_trial(trial_id) is after is not before
    assert after == before
    after.user_attrs = {}
    assert before.user_attrs == {"a": 1}
    with pytest.raises(UpdateFinishedTrialError):
        storage.replaced(70)


def test_the_lock_is_the_one_of_every_method() -> None:
    storage = MemoryStorage()
    assert storage.lock is storage._lock
    assert isinstance(storage, InMemoryStorage)


class Hooked(NewTrialHooks, RDBStorage):
    """Counts what the hooks are given, and allows two trials."""

    created: tuple[int, ...] = ()

    def before_new_trial(self, study_id: int, session: object) -> None:
        if len(self.created) == 2:
            raise RuntimeError("two are enough")

    def after_new_trial(self, trial: FrozenTrial) -> None:
        self.created += (trial.number,)


def test_a_new_trial_calls_both_hooks_and_one_can_prevent_it(tmp_path: Path) -> None:
    storage = Hooked(f"sqlite:///{tmp_path}/hooks.db")
    study = optuna.create_study(storage=storage)
    study.ask()
    study.ask()
    with pytest.raises(RuntimeError, match="two are enough"):
        study.ask()
    assert storage.created == (0, 1)
    assert len(study.trials) == 2
    storage.remove_session()
    storage.engine.dispose()


def test_tables_are_those_of_a_database(tmp_path: Path) -> None:
    storage = RDBStorage(f"sqlite:///{tmp_path}/tables.db")
    trial = optuna.create_study(storage=storage).ask()
    trial.report(0.5, 3)
    trial.storage.set_trial_system_attr(trial_id(trial), "k", 1)
    trial.set_user_attr("k", 1)
    storage.record_heartbeat(trial_id(trial))
    assert trial.storage is not storage
    assert behind_cache(trial.storage) is behind_cache(storage) is storage
    tables = server_tables()
    with closing(storage.engine.connect()) as connection:
        for table in tables:
            ((row_trial,),) = connection.execute(table.select().with_only_columns(table.c.trial_id))
            assert row_trial == trial_id(trial), table.name
    assert {"state", "study_id"} <= set(tables.trials.c.keys())
    assert "heartbeat" in tables.heartbeats.c
    for table in (tables.system_attributes, tables.user_attributes):
        assert {"key", "value_json"} <= set(table.c.keys())
    storage.remove_session()
    storage.engine.dispose()


PRIVATE = re.compile(
    r"optuna(\.\w+)*\._|(?<!self)\._(storage|trial_id|study_id|suggest|get_trials|_check_study_id)\b"
)


def test_no_other_module_uses_private_names() -> None:
    adapter = Path(optuna_private.__file__)
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in (ROOT / "adamtune").rglob("*.py")
        if path != adapter
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if PRIVATE.search(line.replace("optuna.__version__", ""))
    ]
    assert not found


def test_every_change_of_a_journal_is_told_with_its_trial_and_its_process(tmp_path: Path) -> None:
    told: list[tuple[str, int | None]] = []

    class Storage(JournalHooks):
        def on_change(self, change: Mapping[str, Any], trial_id: int | None) -> None:
            told.append((change["worker_id"], trial_id))

    storages = [Storage(JournalFileBackend(str(tmp_path / "a.log"))) for _ in range(2)]
    study = optuna.create_study(storage=storages[0])
    for _ in range(2):
        study.ask({"x": FloatDistribution(0, 1)})
    storages[1].get_all_studies()
    assert [trial for _, trial in told] == [None, 0, 0, 1, 1] * 2
    assert all(worker.startswith(storages[0].process) for worker, _ in told)
    assert storages[0].process != storages[1].process


def test_a_journal_has_few_trials_at_hand(tmp_path: Path) -> None:
    """Those of each state, as another process reads them, also after the storage was pickled."""
    storage = JournalHooks(JournalFileBackend(str(tmp_path / "a.log")))
    study = optuna.create_study(storage=storage)
    study.enqueue_trial({"x": 1.0})
    for state in (TrialState.COMPLETE, TrialState.FAIL, None, None):
        trial = study.ask()
        if state is not None:
            study.tell(trial, 1.0 if state == TrialState.COMPLETE else None, state)
    study.enqueue_trial({"x": 2.0})
    unfinished = (TrialState.RUNNING, TrialState.WAITING)
    for each in (storage, JournalHooks(storage._backend), pickle.loads(pickle.dumps(storage))):
        number = each.get_study_id_from_name(study.study_name)
        everything = each.get_all_trials(number)
        assert list(each.trials(number)) == everything
        for states in ((TrialState.WAITING,), (TrialState.RUNNING,), unfinished, (TrialState.FAIL,)):
            wanted = [trial for trial in everything if trial.state in states]
            assert each.get_all_trials(number, states=states) == wanted
            assert each.get_all_trials(number, False, states)[0] is each.get_trial(trial_id(wanted[0]))
            assert sum(each.index.counts[number, state] for state in states) == len(wanted)
        with pytest.raises(KeyError):
            each.trials(number + 1)
        with pytest.raises(KeyError):
            each.get_all_trials(number + 1, states=unfinished)


def test_reports_of_a_running_trial_are_forgotten(tmp_path: Path) -> None:
    storage = JournalHooks(JournalFileBackend(str(tmp_path / "a.log")))
    study = optuna.create_study(storage=storage, pruner=SuccessiveHalvingPruner(1))
    ended, running = study.ask(), study.ask()
    for trial in (ended, running):
        storage.set_trial_system_attr(trial_id(trial), "kept", 1)
        trial.report(0.5, 1)
        trial.should_prune()
    study.tell(ended, 1.0)
    before = study.trials
    assert RUNG in "".join(before[1].system_attrs)
    for trial in (ended, running):
        storage.forget_reports(trial_id(trial))
    assert study.trials[0] == before[0]
    assert (study.trials[1].intermediate_values, study.trials[1].system_attrs) == ({}, {"kept": 1})


def test_a_thread_may_lock_a_journal_storage_twice(tmp_path: Path) -> None:
    storage = JournalHooks(JournalFileBackend(str(tmp_path / "a.log")))
    for each in (storage, pickle.loads(pickle.dumps(storage))):
        with each.lock:
            assert each.get_all_studies() == []
