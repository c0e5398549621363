"""One way to open the storage of a study, whatever it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from adamtune.storage.location import local_path

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from adamtune.storage.local import LocalStorage
    from adamtune.storage.shared import SharedStorage


def open_storage(location: str) -> LocalStorage | SharedStorage:
    """The storage at ``location``, to be read and written; created if it is not there.

    Both kinds are Optuna storages with four methods more: ``commit()`` makes every change so far durable;
    ``beat(trial_ids)`` tells other processes which trials are in training here; ``take_over(study_id, most)``
    claims the running trials of dead processes; ``close()``. Those that a kind has no need of do nothing.

    Args:
        location: a file or ``sqlite:///`` URL, which gives a
            :class:`~adamtune.storage.local.LocalStorage`; or the URL of a database server, which gives a
            :class:`~adamtune.storage.shared.SharedStorage`. Use the latter within
            :func:`~adamtune.storage.server.server_faults`.

    Raises:
        AdamtuneError: it cannot be opened, or the database's driver is not installed.
        UsageError: the URL is wrong.
        Refused: it is no study database, or of another schema.
    """
    path = local_path(location)
    if path is None:
        from adamtune.storage.server import open_server

        return open_server(location)
    from adamtune.storage.local import LocalStorage

    return LocalStorage(path)


def commit(storage: BaseStorage) -> None:
    """``commit()`` of a storage that :func:`open_storage` gave."""
    cast("LocalStorage | SharedStorage", storage).commit()


def close(storage: BaseStorage) -> None:
    """``close()`` of a storage that :func:`open_storage` gave; what was not committed is dropped."""
    cast("LocalStorage | SharedStorage", storage).close()
