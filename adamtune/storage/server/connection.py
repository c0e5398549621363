"""Studies on a database server, through Optuna's own storage."""

from __future__ import annotations

import importlib.util
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from adamtune.errors import AdamtuneError, Refused, UsageError
from adamtune.storage.location import without_password
from adamtune.storage.records import (
    STATES,
    StudyRecord,
    StudySummary,
    counted,
    no_study,
    one_direction,
    record_of,
    study_record,
)

if TYPE_CHECKING:
    from optuna.study._frozen import FrozenStudy
    from optuna.trial import FrozenTrial

    from adamtune.storage.server.storage import ServerStorage

CREATING = (0.1, 0.3, 0.6, 1.0)
"""Seconds between tries to open a database that another process may be creating."""

_PACKAGES = {"psycopg2": "psycopg2-binary", "psycopg": "'psycopg[binary]'", "MySQLdb": "mysqlclient"}


@contextmanager
def server_faults(location: str) -> Iterator[None]:
    """Turns failures of a database server into messages; for opening it, and for using it.

    Raises:
        AdamtuneError: the server cannot be reached or failed, or its driver is not installed.
        UsageError: the URL is wrong.
        Refused: the schema is of another Optuna.
    """
    import sqlalchemy.exc
    from optuna.exceptions import StorageInternalError

    shown = without_password(location)
    try:
        yield
    except ImportError as error:
        module = getattr(error.__cause__ or error, "name", None) or "unknown"
        package = _PACKAGES.get(module, module)
        raise AdamtuneError(
            f"{shown}: the Python driver of this database ({module}) is not installed."
            f" Run `pip install {package}`, then the same command again."
        ) from error
    except sqlalchemy.exc.ArgumentError as error:
        raise UsageError(
            f"{shown}: not a database URL ({error}). Write a file's path, or such as"
            " postgresql://user:password@host/database."
        ) from error
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError) as error:
        cause = error if isinstance(error, sqlalchemy.exc.SQLAlchemyError) else error.__cause__
        reason = str(getattr(cause, "orig", None) or cause or error).strip()
        raise AdamtuneError(
            f"{shown}: the database failed: {reason}\nWhat was recorded before is safe."
            " Check that the server runs and the URL is right, then run the same command again."
        ) from error


def open_server(location: str, create: bool = True) -> ServerStorage:
    """Optuna's storage for a server; without ``create``, a database without studies is a UsageError."""
    import sqlalchemy

    url = with_driver(location)
    with server_faults(location):
        try:
            sqlalchemy.make_url(url)
        except ValueError as error:  # of a port that is no number
            raise UsageError(f"{without_password(location)}: not a database URL ({error})") from error
        if not create:
            engine = sqlalchemy.create_engine(url)
            found = sqlalchemy.inspect(engine).has_table("studies")
            engine.dispose()
            if not found:
                raise UsageError(
                    f"{without_password(location)}: this database has no studies yet."
                    " Run `adamtune search CONFIG` first."
                )
        template = url.replace("{", "{{").replace("}", "}}")  # Optuna reads it as one
        try:
            return _opened(template, create)
        except RuntimeError as error:  # Optuna's only sign of another schema
            raise Refused(f"{without_password(location)}: {error}") from error


def _opened(template: str, create: bool) -> ServerStorage:
    """The storage; tried again where another process is creating its tables at the same moment."""
    import sqlalchemy.exc

    from adamtune.storage.server.storage import ServerStorage

    for seconds in CREATING:
        try:
            return ServerStorage(template, skip_table_creation=not create)
        except (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.ProgrammingError, RuntimeError):
            time.sleep(seconds)
        except sqlalchemy.exc.OperationalError as error:
            if "exists" not in str(error):  # which is how MySQL says it
                raise
            time.sleep(seconds)
    return ServerStorage(template, skip_table_creation=not create)


@contextmanager
def _reading(location: str) -> Iterator[ServerStorage]:
    """Optuna's storage for a server, to be read: nothing is created.

    Raises:
        UsageError: there are no studies, or the URL is wrong.
        AdamtuneError, Refused: as :func:`open_storage`.
    """
    storage = open_server(location, create=False)
    try:
        with server_faults(location):
            yield storage
    finally:
        storage.close()


def with_driver(location: str) -> str:
    """The URL with PostgreSQL's driver named: SQLAlchemy's default for it differs by version."""
    scheme, separator, rest = location.partition("://")
    if scheme != "postgresql":
        return location
    drivers = [name for name in ("psycopg2", "psycopg") if importlib.util.find_spec(name) is not None]
    return f"postgresql+{(drivers or ['psycopg2'])[0]}{separator}{rest}"


def read_study(location: str, name: str) -> StudyRecord:
    """The study of this name with all its trials."""
    with _reading(location) as storage:
        studies = {study.study_name: study for study in storage.get_all_studies()}
        if name not in studies:
            raise no_study(location, name, studies)
        study = studies[name]
        trials = storage.get_all_trials(study._study_id, deepcopy=False)
    direction = one_direction([each.name for each in study.directions], name)
    return study_record(
        name, direction, study.user_attrs, [record_of(each) for each in trials if each.state.name in STATES]
    )


def list_studies(location: str) -> list[StudySummary]:
    """Every study, oldest first."""
    with _reading(location) as storage:
        return [
            _summary(study, storage.get_all_trials(study._study_id, deepcopy=False))
            for study in storage.get_all_studies()
        ]


def _summary(study: FrozenStudy, trials: Sequence[FrozenTrial]) -> StudySummary:
    begun = [trial for trial in trials if trial.state.name in STATES]
    records = [record_of(trial) for trial in begun]
    directions = [each.name.lower() for each in study.directions]
    pick = {"minimize": min, "maximize": max}.get(directions[0]) if len(directions) == 1 else None
    values = [
        record.value
        for record in records
        if record.state == "complete" and record.value is not None and math.isfinite(record.value)
    ]
    times = [time for trial in begun if (time := trial.datetime_complete or trial.datetime_start) is not None]
    return StudySummary(
        name=study.study_name,
        metric=study.user_attrs.get("metric", "value"),
        direction=", ".join(directions),
        counts=counted(Counter(record.state for record in records)),
        best=pick(values) if pick and values else None,
        last_activity=max(times, default=None),
    )


def delete_study(location: str, name: str) -> None:
    """Deletes a study with its trials."""
    with _reading(location) as storage:
        studies = {study.study_name: study for study in storage.get_all_studies()}
        if name not in studies:
            raise no_study(location, name, studies)
        storage.delete_study(studies[name]._study_id)
