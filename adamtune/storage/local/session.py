"""A study in a local file, which this process alone trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from typing_extensions import override

from adamtune.config import StudyConfig
from adamtune.storage.local.checkpoints import Checkpoints
from adamtune.storage.local.storage import LocalStorage
from adamtune.storage.optuna_private import trial_id
from adamtune.storage.session import Session


class LocalSession(Session):
    """A session whose commits come with a checkpoint. The caller holds the study's lock."""

    def __init__(self, config: StudyConfig, storage: LocalStorage) -> None:
        super().__init__(config, storage)
        self._local = storage
        self._checkpoints = Checkpoints(storage.path, config.name)

    @override
    def checkpoint(self) -> dict[str, Any] | None:
        return self._checkpoints.restore(self._local, self._id)

    @override
    def begin_commit(self, state: Mapping[str, Any] | None) -> None:
        self._checkpoints.begin(self._local, self._id, state)

    @override
    def finish_commit(self) -> None:
        self._checkpoints.finish()

    @override
    def _remove_evaluations(self, trial_id: int, steps: Sequence[int]) -> None:
        self._local.remove_evaluations(trial_id, steps)

    @override
    def foreign_trials(self) -> int:
        return len(self._running()) - len(self._own_running())

    def _running(self) -> list[FrozenTrial]:
        return self.storage.get_all_trials(self._id, deepcopy=False, states=(TrialState.RUNNING,))

    def _own_running(self) -> list[FrozenTrial]:
        """The trials that adamtune was training at the last commit: they have settings."""
        return [trial for trial in self._running() if "settings" in trial.user_attrs]

    @override
    def discard_running(self) -> None:
        for trial in self._own_running():
            self.storage.set_trial_state_values(trial_id(trial), TrialState.FAIL)
        # A commit without a state deletes the checkpoint of the one before.
        self.begin_commit(None)
        self.finish_commit()

    @override
    def delete_if_empty(self) -> None:
        if not self.storage.get_n_trials(self._id):
            self.storage.delete_study(self._id)

    @override
    def close(self) -> None:
        self._checkpoints.close()
        self._local.close()
