"""One way to open the storage of a study, whatever it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adamtune.storage.location import local_path

if TYPE_CHECKING:
    from adamtune.storage.local import LocalStorage
    from adamtune.storage.shared import SharedStorage


def open_storage(location: str) -> LocalStorage | SharedStorage:
    """The storage at ``location``, to be read and written; created if it is not there.

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
