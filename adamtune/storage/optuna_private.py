"""The one module that uses names of Optuna that it does not document and may change in any release.

Each has a public name here, a line that says what breaks without it, and a test of its own in
``tests/storage/test_optuna_private.py``.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Mapping, Sequence
from contextlib import AbstractContextManager
from threading import RLock
from typing import TYPE_CHECKING, Any, NamedTuple

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages._base import DEFAULT_STUDY_NAME_PREFIX
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._in_memory import _StudyInfo
from optuna.study import Study, StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.study.study import _SYSTEM_ATTR_METRIC_NAMES
from optuna.trial import FrozenTrial, Trial, TrialState
from typing_extensions import override

from adamtune.storage.journal.index import TrialIndex, TrialsById

if TYPE_CHECKING:
    from optuna.storages.journal import BaseJournalBackend
    from sqlalchemy import Table
    from sqlalchemy.orm import Session

__all__ = ["DEFAULT_STUDY_NAME_PREFIX", "FrozenStudy"]
# Without the prefix, a study without a name is not named as Optuna's own storages name it.

METRIC_NAMES = _SYSTEM_ATTR_METRIC_NAMES
"""The attribute of a study that names its objectives. Without it, the dashboard numbers them."""

RUNG = "completed_rung_"
"""The names of the trial attributes in which pruners keep a trial's value at a rung begin so. Without it, a
trial that begins anew would be judged by its first training."""


def study_id(study: Study | FrozenStudy) -> int:
    """The id of a study in its storage. Without it, no storage could be called about a study."""
    return study._study_id


def trial_id(trial: Trial | FrozenTrial) -> int:
    """The id of a trial in its storage. Without it, no result could be recorded."""
    return trial._trial_id


def storage_of(study: Study) -> BaseStorage:
    """The storage as the study calls it. Without it, a study on a server would be read without its cache."""
    return study._storage


def behind_cache(storage: BaseStorage) -> BaseStorage:
    """The storage behind Optuna's cache of it. Without it, a server gets attributes one by one."""
    return storage._backend if isinstance(storage, _CachedStorage) else storage


def all_trials(study: Study) -> Sequence[FrozenTrial]:
    """The trials of a study by number, which may change later. Without it, each use would copy the list."""
    return trials_in(storage_of(study), study_id(study))


def trials_in(storage: BaseStorage, study_id: int) -> Sequence[FrozenTrial]:
    """``all_trials`` of a study of a storage."""
    read = getattr(storage, "trials", None)
    return storage.get_all_trials(study_id, deepcopy=False) if read is None else read(study_id)


def ask_parameter(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    """Asks the sampler for a parameter. Without it, each kind of distribution needs a call of its own."""
    return trial._suggest(name, distribution)


def new_frozen_study(
    study_id: int,
    name: str,
    directions: Sequence[StudyDirection],
    user_attrs: dict[str, Any],
    system_attrs: dict[str, Any],
) -> FrozenStudy:
    """A study as storages list it. Without it, ``get_all_studies`` has nothing to return."""
    return FrozenStudy(name, None, user_attrs, system_attrs, study_id, directions=directions)


class TrialsView(Study):
    """A study whose samplers see ``view`` of its trials. Without it, they would see the trials themselves."""

    def view(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        """The trials as samplers see them."""
        return trials

    @override
    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        # All states, because a view may change the state of a trial; then those that were asked for.
        trials = self.view(super()._get_trials(deepcopy, None, use_cache))
        return [each for each in trials if states is None or each.state in states]

    @override
    def _pop_waiting_trial_id(self) -> int | None:
        # Optuna would read all trials in training from a server, in search of one that was enqueued.
        asked = getattr(behind_cache(self._storage), "has_waiting", None)
        return super()._pop_waiting_trial_id() if asked is None or asked(self._study_id) else None


class MemoryStorage(InMemoryStorage):
    """Optuna's storage in memory, to which a subclass adds a study when it is first asked for.

    Without the private attributes, the whole of Optuna's storage in memory would have to be written anew.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lock = self._lock  # every method of the base class holds it

    def load_study(self, study_id: int) -> None:
        """Adds a study that is not in memory; does nothing if there is none."""

    def load_study_of(self, trial_id: int) -> None:
        """Adds the study of a trial that is not in memory; does nothing if there is none."""

    def add_study(self, study: FrozenStudy, trials: list[FrozenTrial]) -> None:
        """Adds a study with its trials, which have the numbers 0, 1, 2, ..."""
        number, name = study_id(study), study.study_name
        info = _StudyInfo(name, study.directions)
        info.user_attrs, info.system_attrs, info.trials = study.user_attrs, study.system_attrs, trials
        self._studies[number] = info
        self._study_name_to_id[name] = number
        # Optuna looks for waiting trials from this number on.
        self._prev_waiting_trial_number[number] = 0
        for trial in trials:
            info.param_distribution.update(trial.distributions)
            self._trial_id_to_study_id_and_number[trial_id(trial)] = number, trial.number
            self._update_cache(trial_id(trial), number)

    def trials(self, study_id: int) -> Sequence[FrozenTrial]:
        """The trials of a study by number, which is the list itself: a copy takes longer with each trial."""
        with self.lock:
            self._check_study_id(study_id)
            return self._studies[study_id].trials

    def study_of(self, trial_id: int) -> int:
        """The id of the study of a trial in memory."""
        return self._trial_id_to_study_id_and_number[trial_id][0]

    def replaced(self, trial_id: int) -> FrozenTrial:
        """Puts a copy in the place of a trial that has not ended; the copy, which the caller changes at once.

        Whoever has the trial goes on seeing it as it was. Optuna makes a copy for each change, and slower.
        """
        trial = self._get_trial(trial_id)
        self.check_trial_is_updatable(trial_id, trial.state)
        changed = FrozenTrial.__new__(FrozenTrial)
        vars(changed).update(vars(trial))
        self._set_trial(trial_id, changed)
        return changed

    def set_next_trial_id(self, trial_id: int) -> None:
        """Sets the id of the trial that is created next."""
        # Optuna adds 1 to it for each new trial.
        self._max_trial_id = trial_id - 1

    @override
    def _check_study_id(self, study_id: int) -> None:
        if study_id not in self._studies:
            self.load_study(study_id)
        super()._check_study_id(study_id)

    @override
    def _check_trial_id(self, trial_id: int) -> None:
        if trial_id not in self._trial_id_to_study_id_and_number:
            self.load_study_of(trial_id)
        super()._check_trial_id(trial_id)


class NewTrialHooks:
    """Calls a subclass of RDBStorage before and after it creates a trial; derive from this class first.

    Without it, processes could create more trials than a study is to have, and trials without a heartbeat.
    """

    def before_new_trial(self, study_id: int, session: Session) -> None:
        """Called in the transaction that creates a trial; the study is locked. May raise to prevent it."""

    def after_new_trial(self, trial: FrozenTrial) -> None:
        """Called when a trial is created."""

    def _get_prepared_new_trial(self, study_id: int, template: FrozenTrial | None, session: Session) -> Any:
        self.before_new_trial(study_id, session)
        return super()._get_prepared_new_trial(study_id, template, session)  # type: ignore[misc]

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        trial: FrozenTrial = super()._create_new_trial(study_id, template_trial)  # type: ignore[misc]
        self.after_new_trial(trial)
        return trial


class ServerTables(NamedTuple):
    """The tables that a dead process's trials are taken over in. Without them, nobody would train those."""

    trials: Table
    heartbeats: Table
    intermediate_values: Table
    system_attributes: Table
    user_attributes: Table


def server_tables() -> ServerTables:
    """The tables of Optuna's schema as SQLAlchemy knows them."""
    from optuna.storages._rdb import models

    found: Mapping[str, Table] = models.BaseModel.metadata.tables
    others = ("heartbeats", "intermediate_values", "system_attributes", "user_attributes")
    return ServerTables(found["trials"], *(found[f"trial_{name}"] for name in others))


class JournalHooks(JournalStorage):
    """Optuna's journal storage, which calls a subclass for each change that it reads, and has an index.

    Without it, nobody would know which process wrote last, a trial could not begin anew (a journal has no
    operation that deletes a report), and each trial would read all others.
    """

    def __init__(self, backend: BaseJournalBackend) -> None:
        self.index = TrialIndex()
        super().__init__(backend)
        # Reentrant: a transaction holds it, and every method takes it.
        self._thread_lock = RLock()  # type: ignore[assignment]

    def __setstate__(self, state: dict[Any, Any]) -> None:
        self.index = TrialIndex()
        super().__setstate__(state)
        self._thread_lock = RLock()  # type: ignore[assignment]

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """What a thread holds while it uses the storage; it may take it again."""
        return self._thread_lock

    @property
    def process(self) -> str:
        """What the ``worker_id`` of this process's changes begins with."""
        return self._worker_id_prefix

    def on_change(self, change: Mapping[str, Any], trial_id: int | None) -> None:
        """Called after each change of the journal was read, whichever process wrote it.

        Args:
            change: the change.
            trial_id: the trial that it created or changed, if any.
        """

    def forget_reports(self, trial_id: int) -> None:
        """Removes what was reported of a running trial, and how pruners judged it, from memory."""
        trial = copy.copy(self._replay_result._trials.get(trial_id))
        if trial is None or trial.state.is_finished():
            return
        trial.intermediate_values = {}
        trial.system_attrs = {k: each for k, each in trial.system_attrs.items() if not k.startswith(RUNG)}
        self._replay_result._trials[trial_id] = trial

    def trials(self, study_id: int) -> Sequence[FrozenTrial]:
        """The trials of a study by number: a list of them would take longer with each trial."""
        with self.lock:
            self._sync_with_backend()
            self._replay_result.get_study(study_id)
            ids = self._replay_result._study_id_to_trial_ids[study_id]
            return TrialsById(ids, self._replay_result._trials)

    @override
    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        if states is None or any(each in states for each in TrialState if each.is_finished()):
            return super().get_all_trials(study_id, deepcopy, states)
        with self.lock:
            self._sync_with_backend()
            self._replay_result.get_study(study_id)
            unfinished = (self._replay_result._trials[each] for each in self.index.unfinished[study_id])
            found = [each for each in unfinished if each.state in states]
            return copy.deepcopy(found) if deepcopy else found

    @override
    def _sync_with_backend(self) -> None:
        for change in self._backend.read_logs(self._replay_result.log_number_read):
            trials = len(self._replay_result._trials)
            self._replay_result.apply_logs([change])
            created = trials if len(self._replay_result._trials) > trials else None
            number: int | None = change.get("trial_id", created)
            if number in self._replay_result._trials:
                study = self._replay_result._trial_id_to_study_id[number]
                self.index.update(study, number, self._replay_result._trials[number].state)
            self.on_change(change, number)
