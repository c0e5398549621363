"""Studies in a journal: whose trials are whose, and the trials of dead processes that others take over.

Every line of a journal names the process that wrote it, so each is a sign of life; ``SharedJournal.beat``
writes one where there was no other for long. A process counts as dead when another has read no line of it
for ``GRACE_SECONDS`` of its own clock: the clocks of two machines are never compared.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from typing_extensions import override

from adamtune.storage import processes
from adamtune.storage.journal.file import JournalFile
from adamtune.storage.optuna_private import JournalHooks
from adamtune.storage.optuna_private import trial_id as id_of_trial
from adamtune.storage.processes import COUNTED, OWNER, NoTrialRemains, ProcessStorage

ALIVE = "adamtune:alive"
"""The system attribute of a trial that is set as a sign of life."""

CREATED = 4
"""Optuna's number of the operation that creates a trial, the same in every journal."""

NOBODY = ""
"""The owner of a trial that any process may take over at once."""


class SharedJournal(JournalHooks, ProcessStorage):
    """Optuna's journal storage for processes that share the trials of a study.

    Args:
        path: an existing file.

    Raises:
        Refused: it is no journal.
        AdamtuneError: it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._file = JournalFile(path)
        # By process: when this one last read a line of it. By trial: its process. Reading keeps both.
        self._heard: dict[str, float] = {}
        self._owners: dict[int, str] = {}
        self._limits: dict[int, int] = {}
        super().__init__(self._file)

    @override
    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self.lock, self._file.transaction():
            yield

    @override
    def on_change(self, change: Mapping[str, Any], trial_id: int | None) -> None:
        name, dash, _ = change["worker_id"].rpartition("-")
        process = name + dash
        self._heard[process] = time.monotonic()
        if trial_id is None:
            return
        taken = change.get("system_attr", {}).get(OWNER)
        if change["op_code"] == CREATED or change.get("state") == TrialState.RUNNING:
            self._owners[trial_id] = process
        elif taken is not None:
            self._owners[trial_id] = taken
        if taken:
            self.forget_reports(trial_id)

    @override
    def limit(self, study_id: int, trials: int) -> None:
        self._limits[study_id] = trials

    @override
    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        with self.transaction():
            if study_id in self._limits:
                self.get_all_studies()  # reads what is new
                if sum(self.index.counts[study_id, each] for each in COUNTED) >= self._limits[study_id]:
                    raise NoTrialRemains
            return super().create_new_trial(study_id, template_trial)

    @override
    def beat(self, trial_ids: Collection[int]) -> set[int]:
        with self.transaction():
            self.get_all_studies()  # reads what is new
            own = [each for each in trial_ids if self._owners[each] == self.process]
            since = time.monotonic() - self._heard.get(self.process, 0.0)
            if own and since > processes.GRACE_SECONDS / 6:
                self.set_trial_system_attr(own[0], ALIVE, time.time())
        return set(trial_ids) - set(own)

    @override
    def leave(self, trial_ids: Collection[int]) -> None:
        lost = self.beat(trial_ids)
        with self.transaction():
            for each in set(trial_ids) - lost:
                self.set_trial_system_attr(each, OWNER, NOBODY)

    @override
    def take_over(self, study_id: int, own: Collection[int], most: int) -> list[int]:
        if not self._silent(study_id, own):  # it is asked often, and the lock keeps others waiting
            return []
        with self.transaction():
            found = self._silent(study_id, own)[:most]
            for each in found:
                self.set_trial_system_attr(each, OWNER, self.process)
        return found

    def _silent(self, study_id: int, own: Collection[int]) -> list[int]:
        """The running trials of processes that are dead."""
        running = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
        others = [each for each in running if id_of_trial(each) not in own]
        return [id_of_trial(each) for each in others if self._is_silent(each)]

    def _is_silent(self, trial: FrozenTrial) -> bool:
        owner = self._owners[id_of_trial(trial)]
        now = time.monotonic()
        return owner == NOBODY or now - self._heard[owner] > processes.GRACE_SECONDS

    @override
    def close(self) -> None:
        """Does nothing: no file stays open."""
