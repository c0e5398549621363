"""The database with a study that the tests of the command line have, too."""

from __future__ import annotations

from ..cli.conftest import storage, written

__all__ = ["storage", "written"]
