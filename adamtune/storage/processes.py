"""A study whose trials several processes train: what its storage can do, and the session that uses it."""

from __future__ import annotations

import abc
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import Trial, TrialState
from typing_extensions import override

from adamtune.config import StudyConfig
from adamtune.storage.session import Session

# A heartbeat comes with every evaluation and every commit, which are seconds apart. A minute leaves room for
# a slow task or network; after a crash, nobody waits long.
GRACE_SECONDS = 60.0
"""A running trial without a heartbeat for so long belongs to a dead process."""

WAIT_SECONDS = 1.0
"""The pause before a process without work asks again whether trials of others remain."""

COUNTED = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED)
"""States of the trials that count towards a study's total; a failed one is replaced by another."""

OWNER = "adamtune:owner"
"""The system attribute of a trial with the process that trains it."""

CONFIRMER = "adamtune:confirmer"
"""The system attribute of a study with the process that confirms it and the time of its last sign of life."""


class NoTrialRemains(Exception):
    """The study has its total of trials."""


class ProcessStorage(BaseStorage):
    """A storage of several processes. Each running trial belongs to one, which sends heartbeats for it.

    A trial that is taken over keeps its number and its parameters and is trained from its first step, with
    the same result that the dead process would have recorded.
    """

    @abc.abstractmethod
    def limit(self, study_id: int, trials: int) -> None:
        """Sets a study's total: with so many trials that did not fail, a new one raises NoTrialRemains."""

    @abc.abstractmethod
    def beat(self, trial_ids: Collection[int]) -> set[int]:
        """Sends the heartbeats of trials of this process, by which other processes know that it lives.

        Args:
            trial_ids: trials that this process created or took over.

        Returns:
            The trials that other processes have taken over; this one may not change them any more.
        """

    @abc.abstractmethod
    def leave(self, trial_ids: Collection[int]) -> None:
        """Lets any process take over these trials at once."""

    @abc.abstractmethod
    def take_over(self, study_id: int, own: Collection[int], most: int) -> list[int]:
        """Makes this process the owner of up to ``most`` running trials whose processes are dead.

        What they reported is deleted, because pruners would judge the next report by it. If a process was
        only slow, its next call of :meth:`beat` returns the trials that it lost.

        Args:
            study_id: the study.
            own: ids of the trials that this process trains; they are not taken over.
            most: the most trials that are taken over, the oldest first.

        Returns:
            The ids of the trials that were taken over.
        """

    def remove_evaluations(self, trial_id: int, steps: Sequence[int]) -> None:
        """Removes the intermediate values at these steps of a trial that ended, if the storage can."""

    def transaction(self) -> AbstractContextManager[None]:
        """Writes the changes that the block makes together, where that is faster."""
        return nullcontext()

    @abc.abstractmethod
    def close(self) -> None:
        """Closes the storage."""


class SharedSession(Session):
    """A session without commits: the storage has every change at once.

    Another process trains the trials of a dead one from their first step.
    """

    def __init__(self, config: StudyConfig, storage: ProcessStorage) -> None:
        super().__init__(config, storage)
        self._shared, self._me, self._confirms = storage, uuid.uuid4().hex, False
        storage.limit(self._id, config.trials)

    @override
    def claim_confirmation(self) -> bool:
        claim = self._shared.get_study_system_attrs(self._id).get(CONFIRMER)
        if claim and claim["process"] != self._me and time.time() - claim["time"] < GRACE_SECONDS:
            return False
        self._renew_claim()
        time.sleep(WAIT_SECONDS)  # of processes that claim it at once, the last is the one
        self._confirms = self._shared.get_study_system_attrs(self._id)[CONFIRMER]["process"] == self._me
        return self._confirms

    def _renew_claim(self) -> None:
        claim: dict[str, Any] = {"process": self._me, "time": time.time()}
        self._shared.set_study_system_attr(self._id, CONFIRMER, claim)

    @override
    def begin_commit(self, state: Mapping[str, Any] | None) -> None:
        if self._confirms:
            self._renew_claim()
        if state is not None:
            self.beat([each["number"] for each in state["running"]])

    @override
    def transaction(self) -> AbstractContextManager[None]:
        return self._shared.transaction()

    @override
    def ask(self, study: Study) -> Trial | None:
        try:
            return study.ask()
        except NoTrialRemains:
            return None

    @override
    def beat(self, own: Collection[int]) -> set[int]:
        numbers = self._by_id(own)
        return {numbers[each] for each in self._shared.beat(list(numbers))}

    @override
    def take_over(self, own: Collection[int], most: int) -> list[int]:
        return self._shared.take_over(self._id, self._by_id(own), most)

    @override
    def wait_for_others(self) -> bool:
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if running:
            time.sleep(WAIT_SECONDS)
        return bool(running)

    @override
    def _remove_evaluations(self, trial_id: int, steps: Sequence[int]) -> None:
        self._shared.remove_evaluations(trial_id, steps)

    @override
    def leave(self, own: Collection[int]) -> None:
        self._shared.leave(list(self._by_id(own)))

    @override
    def close(self) -> None:
        self._shared.close()

    def _by_id(self, numbers: Collection[int]) -> dict[int, int]:
        """The trials' numbers by id."""
        id_of = self.storage.get_trial_id_from_study_id_trial_number
        return {id_of(self._id, each): each for each in numbers}
