"""A study that this process trains: begin trials, record them, commit."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import Trial

from adamtune.config import StudyConfig
from adamtune.storage.optuna_private import storage_of, study_id


class Session:
    """A study open for training; close it when done.

    A study in a local file belongs to one process, which commits rounds of changes together with a
    checkpoint. On a database server every change is written at once, and several processes train the trials
    of a study. The methods here do nothing where one process needs nothing.

    Trials are identified by their numbers; ``own`` are the trials that this process is training.

    Args:
        config: the study file; the storage has a study of its name with the same settings.
        storage: the storage.
    """

    def __init__(self, config: StudyConfig, storage: BaseStorage) -> None:
        self.config = config
        self.study = Study(config.name, storage)
        self.storage, self._id = storage_of(self.study), study_id(self.study)

    def attribute(self, key: str) -> Any:
        """A user attribute of the study; None if it is not set."""
        return self.study.user_attrs.get(key)

    def set_attribute(self, key: str, value: Any) -> None:
        """Sets a user attribute of the study, JSON-safe."""
        self.storage.set_study_user_attr(self._id, key, value)

    def checkpoint(self) -> dict[str, Any] | None:
        """The state of training at the last commit; None where no trial was in training."""
        return None

    def begin_commit(self, state: Mapping[str, Any] | None) -> None:
        """Begins to make every change durable, with the state of training to resume from.

        Until ``finish_commit``, training may go on, and nothing of the study may change.
        """

    def finish_commit(self) -> None:
        """Waits for the commit that was begun, if one was."""

    def ask(self, study: Study) -> Trial | None:
        """Begins a trial of ``study``, which is this one or a view of it; None if no trial remains."""
        return study.ask()

    def beat(self, own: Collection[int]) -> set[int]:
        """Tells other processes that this one is alive; returns the trials that they have taken over."""
        return set()

    def take_over(self, own: Collection[int], most: int) -> list[int] | None:
        """The ids of up to ``most`` trials of dead processes, which this one trains from now on.

        None where no other process can change the study; otherwise trials may have been added or ended.
        """
        return None

    def wait_for_others(self) -> bool:
        """Whether other processes train trials of the study; waits a moment if so."""
        return False

    def leave(self, own: Collection[int]) -> None:
        """Lets other processes train these trials, at once."""

    def foreign_trials(self) -> int:
        """How many running trials another program began, so that no process of adamtune trains them."""
        return 0

    def discard_running(self) -> None:
        """Marks the trials that were in training for this process as failed."""

    def delete_if_empty(self) -> None:
        """Deletes the study if no trial was begun, by this process or another."""

    def close(self) -> None:
        """Closes the storage, after a commit that was begun; what was not committed is dropped."""
