"""A study open for training, whatever storage it is in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial

from adamtune.config import StudyConfig
from adamtune.storage.curves import removed_steps
from adamtune.storage.optuna_private import storage_of, study_id, trial_id


class Session:
    """A study open for training. The caller closes it.

    One process trains a study in a local file, and commits its changes together with a checkpoint. On a
    database server or in a journal every change is written at once, and several processes train its trials.
    The methods of this class are those of a storage that needs nothing to be done.

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
        """Returns the state of training at the last commit; None where no trial was in training."""
        return None

    def begin_commit(self, state: Mapping[str, Any] | None) -> None:
        """Begins to write every change and the state of training, from which a search resumes.

        Training may continue before ``finish_commit`` returns, but nothing of the study may change.
        """

    def finish_commit(self) -> None:
        """Waits for the commit that was begun, if one was."""

    def transaction(self) -> AbstractContextManager[None]:
        """Writes the changes that the block makes together, where that is faster."""
        return nullcontext()

    def ask(self, study: Study) -> Trial | None:
        """Begins a trial of ``study``, which is this one or a view of it; None if no trial remains."""
        return study.ask()

    def beat(self, own: Collection[int]) -> set[int]:
        """Tells other processes that this one is alive; returns the trials that they have taken over."""
        return set()

    def take_over(self, own: Collection[int], most: int) -> list[int] | None:
        """Takes over up to ``most`` trials of dead processes.

        Returns:
            Their ids; None where no other process can have changed the study.
        """
        return None

    def thin(self, trial: FrozenTrial) -> None:
        """Removes evaluations of a trial that ended, but for those that its thinned curve keeps."""
        steps = removed_steps(trial.intermediate_values)
        if steps:
            self._remove_evaluations(trial_id(trial), steps)

    def _remove_evaluations(self, trial_id: int, steps: Sequence[int]) -> None:
        """Removes the evaluations of a trial at these steps."""

    def wait_for_others(self) -> bool:
        """Returns whether other processes train trials of the study, after a pause if they do."""
        return False

    def claim_confirmation(self) -> bool:
        """Returns whether this process is to confirm the study: no other does."""
        return True

    def leave(self, own: Collection[int]) -> None:
        """Lets other processes take over these trials at once."""

    def foreign_trials(self) -> int:
        """The number of running trials that another program began; adamtune does not train them."""
        return 0

    def discard_running(self) -> None:
        """Marks the trials that were in training for this process as failed."""

    def delete_if_empty(self) -> None:
        """Deletes the study if no trial was begun, by this process or another."""

    def close(self) -> None:
        """Waits for a commit that was begun, and closes the storage; other changes are dropped."""
