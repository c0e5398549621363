"""The study of a file in its storage: created, or found and checked to be the same."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import DuplicatedStudyError
from optuna.study import StudyDirection

import adamtune
from adamtune.config import Study as StudyFile
from adamtune.config import differences
from adamtune.errors import Refused
from adamtune.search.alone import Alone
from adamtune.search.opened import Opened
from adamtune.storage import opening
from adamtune.storage.local import LocalStorage
from adamtune.storage.location import without_password
from adamtune.storage.records import StudyAttrs, write_study

if TYPE_CHECKING:
    from adamtune.storage.shared import SharedStorage


def open_study(file: StudyFile) -> Opened:
    """The study of a file, created if its storage has none of that name.

    Raises:
        Refused: there is one of that name with other settings.
        AdamtuneError: the storage fails.
    """
    storage = opening.open_storage(file.storage)
    try:
        names = {each.study_name: each._study_id for each in storage.get_all_studies()}
        study_id = names.get(file.name)
        if study_id is not None and isinstance(storage, LocalStorage) and _is_blank(storage, study_id):
            # A process that was killed at once left it; perhaps it is of another direction.
            storage.delete_study(study_id)
            study_id = None
        if study_id is None:
            study_id = _created(file, storage)
        _check_same(file, storage, study_id)
        write_study(storage, study_id, _attrs(file, storage.get_study_user_attrs(study_id)))
        if isinstance(storage, LocalStorage):
            return Alone(file, storage)
        from adamtune.search.shared import Shared

        return Shared(file, storage)
    except BaseException:
        storage.close()
        raise


def _created(file: StudyFile, storage: LocalStorage | SharedStorage) -> int:
    try:
        return storage.create_new_study([_direction(file)], file.name)
    except DuplicatedStudyError:  # another process of a server was a moment faster
        return storage.get_study_id_from_name(file.name)


def _is_blank(storage: LocalStorage, study_id: int) -> bool:
    attrs = storage.get_study_user_attrs(study_id)
    return not storage.get_n_trials(study_id) and (not attrs or "study" in attrs)


def _direction(file: StudyFile) -> StudyDirection:
    return StudyDirection[file.objective.direction.upper()]


def _check_same(file: StudyFile, storage: LocalStorage | SharedStorage, study_id: int) -> None:
    attrs, shown = storage.get_study_user_attrs(study_id), without_password(file.storage)
    if "study" not in attrs:
        if storage.get_n_trials(study_id) or storage.get_study_directions(study_id) != [_direction(file)]:
            raise Refused(f"{shown} has a study {file.name} that adamtune did not make. Use another --name.")
        return
    old = StudyFile.from_canonical(attrs["study"])
    changes = differences(old, file)
    if changes:
        raise Refused(
            f"study {file.name} exists in {shown} with other settings:\n"
            + "\n".join(f"  {change}" for change in changes)
            + "\nIts trials would not be comparable. Start a new study with --name, or undo the change"
            " (only trials and timeout may be raised)."
        )


def _attrs(file: StudyFile, kept: Mapping[str, Any]) -> StudyAttrs:
    import torch

    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "optuna": optuna.__version__,
        "adamtune": adamtune.__version__,
    }
    return {
        "study_file": file.text,
        "study": file.canonical(),
        "study_hash": file.hash,
        "metric": file.objective.metric,
        "versions": kept.get("versions", versions),  # those that it was begun with
    }
