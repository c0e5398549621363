"""A study on a database server, whose trials several processes train."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from optuna.study import Study
from optuna.trial import Trial
from typing_extensions import override

from adamtune.config import Study as StudyFile
from adamtune.search.opened import Opened
from adamtune.storage.shared import NoneLeft, SharedStorage


class Shared(Opened):
    """The server has every change at once; there are no commits, and a dead process's trials begin anew."""

    shared = True

    def __init__(self, file: StudyFile, storage: SharedStorage) -> None:
        super().__init__(file, storage)
        self._server = storage
        storage.limit(self._id, file.trials)

    @override
    def begin_commit(self, state: Mapping[str, Any] | None) -> None:
        if state is not None:
            self.beat([each["number"] for each in state["running"]])

    @override
    def ask(self, study: Study) -> Trial | None:
        try:
            return study.ask()
        except NoneLeft:
            return None

    @override
    def beat(self, own: Collection[int]) -> set[int]:
        ids = self._ids(own)
        return {ids[each] for each in self._server.beat(list(ids))}

    @override
    def orphans(self, own: Collection[int], most: int) -> list[int]:
        return self._server.take_over(self._id, self._ids(own), most)

    @override
    def leave(self, own: Collection[int]) -> None:
        self._server.leave(list(self._ids(own)))

    @override
    def close(self) -> None:
        self._server.close()

    def _ids(self, numbers: Collection[int]) -> dict[int, int]:
        """The trials' numbers by id."""
        id_of = self.storage.get_trial_id_from_study_id_trial_number
        return {id_of(self._id, each): each for each in numbers}
