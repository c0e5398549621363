"""Reads studies for reports, and deletes them. Local files are read without torch and Optuna."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

from adamtune.errors import UsageError
from adamtune.storage.journal.connection import JournalReader, read_journal
from adamtune.storage.local import schema
from adamtune.storage.local.checkpoints import Checkpoints
from adamtune.storage.local.database import connect, database_errors, read_only, transaction
from adamtune.storage.local.lock import is_in_use, study_lock
from adamtune.storage.location import journal_path, local_path, trials_folder, without_password
from adamtune.storage.records import (
    StoredStudy,
    StoredTrial,
    StudyRecord,
    StudySummary,
    counted,
    no_study,
    state_of,
    study_record,
)
from adamtune.storage.server.connection import ServerReader, read_server, with_driver

if TYPE_CHECKING:
    import optuna

    from adamtune.config import StudyConfig


def read_study(location: str, name: str) -> StudyRecord:
    """The study of this name with all its trials.

    Raises:
        UsageError: there is no such file, no such study, or it has several objectives.
        AdamtuneError, Refused: the storage cannot be read.
    """
    with _open(location) as reader:
        study = _find(reader, location, name)
        return study_record(study, reader.trials(study.study_id))


def stored_config(location: str, name: str) -> StudyConfig:
    """The study file of a study, as the storage has it.

    Raises:
        UsageError: there is no such study, or adamtune did not make it.
        AdamtuneError: the storage cannot be read, or another version of adamtune made the study.
    """
    from adamtune.config import StudyConfig

    with _open(location) as reader:
        attrs = _find(reader, location, name).user_attrs  # not the trials, of which there may be many
    if "study" not in attrs:
        raise UsageError(f"study {name} was not made by adamtune: it cannot be resumed")
    stored = dict(attrs["study"]) | {"name": name, "storage": location}
    return StudyConfig.from_canonical(stored, attrs.get("study_file", ""))


def optuna_study(location: str, name: str) -> optuna.Study:
    """The study as Optuna's own object, on Optuna's own storage.

    Raises:
        UsageError: there is no such file or study.
        AdamtuneError, Refused: the storage cannot be read.
    """
    with _open(location) as reader:  # Optuna would make a file that is not there
        _find(reader, location, name)
    import optuna

    path = local_path(location)
    url = with_driver(location) if path is None else f"sqlite:///{path}"
    # Optuna reads the URL as a template.
    return optuna.load_study(study_name=name, storage=url.replace("{", "{{").replace("}", "}}"))


def list_studies(location: str) -> list[StudySummary]:
    """Every study, oldest first; those that adamtune did not make too.

    Raises:
        UsageError: there is no such file.
        AdamtuneError, Refused: the storage cannot be read.
    """
    with _open(location) as reader:
        groups = reader.groups() if isinstance(reader, JournalReader) else reader.rows(GROUPS)
        return [
            _summary(study, [row[1:] for row in groups if row[0] == study.study_id])
            for study in reader.studies()
        ]


def latest_study(location: str) -> str:
    """The name of the study in which a trial last began or ended.

    Raises:
        UsageError: there is no such file, or no study in it.
        AdamtuneError, Refused: the storage cannot be read.
    """
    studies = list_studies(location)
    if not studies:
        raise UsageError(f"{without_password(location)}: holds no study yet. Run `adamtune search CONFIG`.")
    begun = [study for study in studies if study.last_activity is not None]
    # As text, because the type of each is still `datetime | None`; ISO dates sort alike.
    return max(begun, key=lambda study: str(study.last_activity)).name if begun else studies[-1].name


def delete_study(location: str, name: str) -> None:
    """Deletes a study with its trials and checkpoints.

    Raises:
        UsageError: there is no such file or study.
        Refused: a process is running it.
        AdamtuneError: the storage cannot be written.
    """
    path = local_path(location)
    with _open(location) as reader:
        study = _find(reader, location, name)
        if not isinstance(reader, FileReader):
            reader.delete(study.study_id)
            rmtree(trials_folder(location, name), ignore_errors=True)
    if path is not None:
        with study_lock(location, name):
            _delete_from_file(path, name)


def _delete_from_file(path: Path, name: str) -> None:
    with closing(connect(path)) as connection, database_errors(path), transaction(connection):
        # Looked for again: another process may have deleted it before the lock was taken.
        study = schema.find_study(connection, name)
        if study is not None:
            schema.remove_study(connection, study.study_id)
    # After the rows: a process killed in between leaves a file that nothing reads. The other way round, it
    # would leave a study whose trials in training are lost.
    Checkpoints(path, name).remove()
    rmtree(trials_folder(str(path), name), ignore_errors=True)


class FileReader:
    """Reads the studies of a local file.

    Args:
        connection: an open one, in a transaction.
        path: the file.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection, self._path = connection, path

    def studies(self) -> list[StoredStudy]:
        """Every study, oldest first."""
        found = schema.read_studies(self._connection)
        return [replace(each, in_use=is_in_use(self._path, each.name)) for each in found]

    def trials(self, study_id: int) -> list[StoredTrial]:
        """Every trial of a study, by number."""
        return schema.read_trials(self._connection, study_id)

    def rows(self, query: str) -> Sequence[Sequence[Any]]:
        """The rows of a query."""
        return self._connection.execute(query).fetchall()


@contextmanager
def _open(location: str) -> Iterator[FileReader | JournalReader | ServerReader]:
    path, journal = local_path(location), journal_path(location)
    if journal is not None:
        with read_journal(journal) as reader:
            yield reader
    elif path is None:
        with read_server(location) as server:
            yield server
    else:
        with read_only(path) as connection:
            yield FileReader(connection, path)


def _find(reader: FileReader | JournalReader | ServerReader, location: str, name: str) -> StoredStudy:
    studies = {each.name: each for each in reader.studies()}
    if name not in studies:
        raise no_study(location, name, studies)
    return studies[name]


# A list of studies needs no trials one by one: with 10,000 trials a study, reading them would take seconds.
GROUPS = """
SELECT t.study_id, t.state, d.key IS NOT NULL, count(*), min(v.value), max(v.value),
       max(coalesce(t.datetime_complete, t.datetime_start))
FROM trials t
LEFT JOIN trial_values v ON v.trial_id = t.trial_id AND v.objective = 0
LEFT JOIN trial_user_attributes d ON d.trial_id = t.trial_id AND d.key = 'diverged_at'
WHERE t.state <> 'WAITING'
GROUP BY 1, 2, 3
"""
"""Study, state, whether diverged: how many trials, lowest and highest finite value, latest time (UTC)."""


def _summary(study: StoredStudy, groups: Sequence[Sequence[Any]]) -> StudySummary:
    """A study in a list, from its rows of ``GROUPS``."""
    counts: Counter[Any] = Counter()
    for state, diverged, trials, *_ in groups:
        counts[state_of(state, bool(diverged))] += trials
    times = [_time(row[5]) for row in groups if row[5] is not None]
    best = {"MINIMIZE": 3, "MAXIMIZE": 4}.get("".join(study.directions))  # none of several objectives
    values = [row[best] for row in groups if best is not None and row[0] == "COMPLETE"]
    return StudySummary(
        name=study.name,
        metric=study.user_attrs.get("metric", "value"),
        direction=", ".join(study.directions).lower(),
        in_use=study.in_use,
        counts=counted(counts),
        best=next((each for each in values if each is not None), None),
        last_activity=schema.to_local(max(times, default=None)),
    )


def _time(stored: str | datetime) -> datetime:
    """A time as the database's driver returns it: SQLite has no type for it."""
    return datetime.fromisoformat(stored) if isinstance(stored, str) else stored
