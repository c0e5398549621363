"""Studies on a database server, through Optuna's own storage."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from adamtune.errors import AdamtuneError, Refused, UsageError
from adamtune.storage.location import without_password
from adamtune.storage.reader import OptunaReader

if TYPE_CHECKING:
    from adamtune.storage.server.storage import ServerStorage

CREATING = (0.1, 0.3, 0.6, 1.0)
"""Seconds between tries to open a database that another process may be creating."""

# The packages of drivers whose modules have other names.
_PACKAGES = {"psycopg2": "psycopg2-binary", "psycopg": "'psycopg[binary]'", "MySQLdb": "mysqlclient"}


@contextmanager
def server_errors(location: str) -> Iterator[None]:
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
        # Optuna raises its own ImportError from the one that has the module's name.
        module = getattr(error.__cause__ or error, "name", None) or "unknown"
        package = _PACKAGES.get(module, module)
        raise AdamtuneError(
            f"{shown}: the Python driver of this database ({module}) is not installed."
            f" Run `pip install {package}`, then try again."
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
            " Check that the server runs and the URL is right, then try again."
        ) from error


def open_server(location: str, create: bool = True) -> ServerStorage:
    """Optuna's storage for a server; without ``create``, a database without studies is a UsageError."""
    import sqlalchemy

    url = with_driver(location)
    with server_errors(location):
        try:
            sqlalchemy.make_url(url)
        except ValueError as error:  # of a port that is no number
            raise UsageError(f"{without_password(location)}: not a database URL ({error})") from error
        # Optuna would create its tables in a database that is only read.
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

    # Of several processes that create the tables at the same moment, all but one find some there and fail.
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
def read_server(location: str) -> Iterator[ServerReader]:
    """A reader of a server's studies; creates nothing there.

    Raises:
        UsageError: there are no studies, or the URL is wrong.
        AdamtuneError: the server cannot be reached or failed, or its driver is not installed.
        Refused: the schema is of another Optuna.
    """
    storage = open_server(location, create=False)
    try:
        with server_errors(location):
            yield ServerReader(storage)
    finally:
        storage.close()


def with_driver(location: str) -> str:
    """The URL with PostgreSQL's driver named: SQLAlchemy's default for it differs by version."""
    scheme, separator, rest = location.partition("://")
    if scheme != "postgresql":
        return location
    drivers = [name for name in ("psycopg2", "psycopg") if importlib.util.find_spec(name) is not None]
    return f"postgresql+{(drivers or ['psycopg2'])[0]}{separator}{rest}"


class ServerReader(OptunaReader):
    """Reads the studies of a server.

    Args:
        storage: Optuna's storage for it.
    """

    def __init__(self, storage: ServerStorage) -> None:
        super().__init__(storage)
        self._engine = storage.engine

    def rows(self, query: str) -> Sequence[Sequence[Any]]:
        """The rows of a query."""
        import sqlalchemy

        with self._engine.connect() as connection:
            return connection.execute(sqlalchemy.text(query)).all()
