"""A study on a database server, whose trials several processes train."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

from optuna.study import Study
from optuna.trial import Trial, TrialState
from typing_extensions import override

from adamtune.config import StudyConfig
from adamtune.storage.server.storage import NoTrialRemains, ServerStorage
from adamtune.storage.session import Session

WAIT_SECONDS = 1.0


class ServerSession(Session):
    """A session without commits: the server has every change at once.

    Another process trains the trials of a dead one from their first step.
    """

    def __init__(self, config: StudyConfig, storage: ServerStorage) -> None:
        super().__init__(config, storage)
        self._server = storage
        storage.limit(self._id, config.trials)

    @override
    def begin_commit(self, state: Mapping[str, Any] | None) -> None:
        if state is not None:
            self.beat([each["number"] for each in state["running"]])

    @override
    def ask(self, study: Study) -> Trial | None:
        try:
            return study.ask()
        except NoTrialRemains:
            return None

    @override
    def beat(self, own: Collection[int]) -> set[int]:
        numbers = self._by_id(own)
        return {numbers[each] for each in self._server.beat(list(numbers))}

    @override
    def take_over(self, own: Collection[int], most: int) -> list[int]:
        return self._server.take_over(self._id, self._by_id(own), most)

    @override
    def wait_for_others(self) -> bool:
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if running:
            time.sleep(WAIT_SECONDS)
        return bool(running)

    @override
    def leave(self, own: Collection[int]) -> None:
        self._server.leave(list(self._by_id(own)))

    @override
    def close(self) -> None:
        self._server.close()

    def _by_id(self, numbers: Collection[int]) -> dict[int, int]:
        """The trials' numbers by id."""
        id_of = self.storage.get_trial_id_from_study_id_trial_number
        return {id_of(self._id, each): each for each in numbers}
