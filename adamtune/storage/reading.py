"""Reading studies for reports, and deleting them. Local files are read without torch and Optuna."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from adamtune.errors import UsageError
from adamtune.storage.local.checkpoints import Checkpoints
from adamtune.storage.local.database import connect, faults, reading, transaction
from adamtune.storage.local.lock import study_lock
from adamtune.storage.local.schema import (
    STUDY_USER,
    StoredTrial,
    find_study,
    read_attrs,
    read_directions,
    read_studies,
    read_trials,
    remove_study,
    to_local,
)
from adamtune.storage.location import local_path, without_password
from adamtune.storage.records import (
    STATES,
    StudyRecord,
    StudySummary,
    TrialRecord,
    counted,
    no_study,
    one_direction,
    state_of,
    study_record,
    trial_record,
)
from adamtune.storage.server import connection as server


def read_study(location: str, name: str) -> StudyRecord:
    """The study of this name with all its trials.

    Raises:
        UsageError: there is no such file, no such study, or it has several objectives.
        AdamtuneError, Refused: the storage cannot be read.
    """
    path = local_path(location)
    if path is None:
        return server.read_study(location, name)
    with reading(path) as connection:
        study_id = find_study(connection, name)
        if study_id is None:
            raise no_study(location, name, (each for _, each in read_studies(connection)))
        directions = read_directions(connection, study_id)
        trials = [_record(each) for each in read_trials(connection, study_id) if each.state in STATES]
        attrs = read_attrs(connection, STUDY_USER, study_id)
    return study_record(name, one_direction(directions, name), attrs, trials)


def list_studies(location: str) -> list[StudySummary]:
    """Every study, oldest first; those that adamtune did not make too.

    Raises:
        UsageError: there is no such file.
        AdamtuneError, Refused: the storage cannot be read.
    """
    path = local_path(location)
    if path is None:
        return server.list_studies(location)
    with reading(path) as connection:
        return [_summary(connection, study_id, name) for study_id, name in read_studies(connection)]


def latest_study(location: str) -> str:
    """The name of the study that was worked on last.

    Raises:
        UsageError: there is no such file, or no study in it.
        AdamtuneError, Refused: the storage cannot be read.
    """
    studies = list_studies(location)
    if not studies:
        raise UsageError(f"{without_password(location)}: holds no study yet. Run `adamtune search CONFIG`.")
    begun = [study for study in studies if study.last_activity is not None]
    return max(begun, key=lambda study: str(study.last_activity)).name if begun else studies[-1].name


def delete_study(location: str, name: str) -> None:
    """Deletes a study with its trials and checkpoints.

    Raises:
        UsageError: there is no such file or study.
        Refused: a process is running it.
        AdamtuneError: the storage cannot be written.
    """
    path = local_path(location)
    if path is None:
        server.delete_study(location, name)
        return
    with reading(path) as connection:
        if find_study(connection, name) is None:
            raise no_study(location, name, (each for _, each in read_studies(connection)))
    with study_lock(location, name):
        _delete_from_file(path, name)


def _delete_from_file(path: Path, name: str) -> None:
    connection = connect(path)
    try:
        with faults(path), transaction(connection):
            study_id = find_study(connection, name)
            if study_id is not None:
                remove_study(connection, study_id)
    finally:
        connection.close()
    Checkpoints(path, name).remove()


def _record(trial: StoredTrial) -> TrialRecord:
    return trial_record(
        number=trial.number,
        state=trial.state,
        value=trial.values[0] if trial.values else None,
        params={name: _external(value, text) for name, (value, text) in trial.params.items()},
        intermediate=trial.intermediate,
        attrs=trial.user_attrs,
        start=trial.start,
        complete=trial.complete,
    )


def _external(value: float, distribution: str) -> Any:
    """A parameter as people write it, from Optuna's internal value."""
    kind, choices = _distribution(distribution)
    if choices is not None:
        return choices[int(value)]
    return int(value) if kind.startswith("Int") else value


@lru_cache(maxsize=4096)
def _distribution(text: str) -> tuple[str, list[Any] | None]:
    parsed = json.loads(text)
    return parsed["name"], parsed["attributes"].get("choices")


def _summary(connection: sqlite3.Connection, study_id: int, name: str) -> StudySummary:
    directions = read_directions(connection, study_id)
    groups = connection.execute(
        """
        SELECT t.state, d.key IS NOT NULL, count(*), min(v.value), max(v.value),
               max(coalesce(t.datetime_complete, t.datetime_start))
        FROM trials t
        LEFT JOIN trial_values v ON v.trial_id = t.trial_id AND v.objective = 0
        LEFT JOIN trial_user_attributes d ON d.trial_id = t.trial_id AND d.key = 'diverged_at'
        WHERE t.study_id = ? AND t.state <> 'WAITING'
        GROUP BY 1, 2
        """,
        (study_id,),
    ).fetchall()
    times = [row[5] for row in groups if row[5] is not None]
    best = {"MINIMIZE": 3, "MAXIMIZE": 4}.get(directions[0]) if len(directions) == 1 else None
    return StudySummary(
        name=name,
        metric=read_attrs(connection, STUDY_USER, study_id).get("metric", "value"),
        direction=", ".join(directions).lower(),
        counts=counted({state_of(state, bool(diverged)): n for state, diverged, n, *_ in groups}),
        best=None if best is None else next((row[best] for row in groups if row[0] == "COMPLETE"), None),
        last_activity=to_local(datetime.fromisoformat(max(times))) if times else None,
    )
