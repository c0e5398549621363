"""Opens a study for training: creates it, or checks that the existing one has the same settings."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError
from optuna.study import StudyDirection

import adamtune
from adamtune.config import StudyConfig, differences
from adamtune.errors import Refused
from adamtune.storage.attributes import StudyAttrs, write_study
from adamtune.storage.journal.connection import journal_errors, open_journal
from adamtune.storage.local.session import LocalSession
from adamtune.storage.local.storage import LocalStorage
from adamtune.storage.location import journal_path, local_path, without_password
from adamtune.storage.optuna_private import METRIC_NAMES
from adamtune.storage.optuna_private import study_id as id_of_study
from adamtune.storage.processes import ProcessStorage, SharedSession
from adamtune.storage.server.connection import open_server, server_errors
from adamtune.storage.session import Session


def open_session(config: StudyConfig) -> Session:
    """The session of a study file's study, which is created if its storage has none of that name.

    Raises:
        Refused: the study exists with other settings.
        AdamtuneError: the storage fails.
    """
    storage = open_storage(config.storage)
    try:
        names = {each.study_name: id_of_study(each) for each in storage.get_all_studies()}
        study_id = names.get(config.name)
        if study_id is not None and isinstance(storage, LocalStorage) and _is_blank(storage, study_id):
            # A process that was killed at once left it; its direction may be another.
            storage.delete_study(study_id)
            study_id = None
        if study_id is None:
            study_id = _create(config, storage)
        _check_same(config, storage, study_id)
        storage.set_study_system_attr(study_id, METRIC_NAMES, [config.objective.metric])
        write_study(storage, study_id, _attributes(config, storage.get_study_user_attrs(study_id)))
        if isinstance(storage, LocalStorage):
            return LocalSession(config, storage)
        return SharedSession(config, storage)
    except BaseException:
        storage.close()
        raise


def open_storage(location: str) -> LocalStorage | ProcessStorage:
    """The storage at ``location`` for reading and writing; created if it does not exist.

    Args:
        location: a path or ``sqlite:///`` URL of a file, a journal, or the URL of a database server. Use the
            last two within :func:`storage_errors`.

    Raises:
        AdamtuneError: it cannot be opened, or the database's driver is not installed.
        UsageError: the URL is wrong.
        Refused: it is not a study database, or of another schema.
    """
    path, journal = local_path(location), journal_path(location)
    if journal is not None:
        return open_journal(journal)
    return open_server(location) if path is None else LocalStorage(path)


def storage_errors(location: str) -> AbstractContextManager[None]:
    """Turns failures of a journal or a server into messages; for opening it, and for using it."""
    journal = journal_path(location)
    return server_errors(location) if journal is None else journal_errors(journal)


def _create(config: StudyConfig, storage: LocalStorage | ProcessStorage) -> int:
    try:
        return storage.create_new_study([_direction(config)], config.name)
    except DuplicatedStudyError:  # another process was a moment faster
        return storage.get_study_id_from_name(config.name)


def _is_blank(storage: LocalStorage, study_id: int) -> bool:
    attrs = storage.get_study_user_attrs(study_id)
    return not storage.get_n_trials(study_id) and (not attrs or "study" in attrs)


def _direction(config: StudyConfig) -> StudyDirection:
    return StudyDirection[config.objective.direction.upper()]


def _check_same(config: StudyConfig, storage: LocalStorage | ProcessStorage, study_id: int) -> None:
    attrs, shown = storage.get_study_user_attrs(study_id), without_password(config.storage)
    # Another program made this study, or a process that was killed before it stored the settings.
    if "study" not in attrs:
        if storage.get_n_trials(study_id) or storage.get_study_directions(study_id) != [_direction(config)]:
            raise Refused(f"{shown} has a study {config.name} that adamtune did not make. Use another name.")
        return
    changes = differences(StudyConfig.from_canonical(attrs["study"]), config)
    if changes:
        raise Refused(
            f"study {config.name} exists in {shown} with other settings:\n"
            + "\n".join(f"  {change}" for change in changes)
            + "\nIts trials would not be comparable. Start a new study under another name, or undo the change"
            " (only trials and timeout may be changed)."
        )


def _attributes(config: StudyConfig, existing: Mapping[str, Any]) -> StudyAttrs:
    import torch

    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "optuna": optuna.__version__,
        "adamtune": adamtune.__version__,
    }
    return {
        # Written at every opening: trials and timeout may differ from those of the last run.
        "study_file": config.text,
        "study": config.canonical(),
        "study_hash": config.hash,
        "metric": config.objective.metric,
        "versions": existing.get("versions", versions),  # of the process that created it
    }
