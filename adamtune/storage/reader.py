"""Reads studies through one of Optuna's storages; imports Optuna when it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adamtune.storage.records import StoredStudy

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial


class OptunaReader:
    """Reads the studies of a storage, and deletes them.

    Args:
        storage: the storage.
    """

    def __init__(self, storage: BaseStorage) -> None:
        self._storage = storage

    def studies(self) -> list[StoredStudy]:
        """Every study, oldest first."""
        from adamtune.storage.optuna_private import study_id

        return [
            StoredStudy(
                study_id(each),
                each.study_name,
                [direction.name for direction in each.directions],
                each.user_attrs,
                each.system_attrs,
            )
            for each in self._storage.get_all_studies()
        ]

    def trials(self, study_id: int) -> list[FrozenTrial]:
        """Every trial of a study, by number."""
        return self._storage.get_all_trials(study_id, deepcopy=False)

    def delete(self, study_id: int) -> None:
        """Deletes a study with its trials."""
        self._storage.delete_study(study_id)
