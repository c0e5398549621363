"""Keeps the page of a study up to date while the study runs."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from adamtune.analysis.ranking import rank
from adamtune.errors import AdamtuneError
from adamtune.reports.files import write_atomically
from adamtune.reports.page.page import to_html, vega
from adamtune.storage.studies import read_study

_FIRST, _SHARE = 5.0, 0.04
"""Seconds before the page is first written, and the part of the time that writing may take."""


class LivePage:
    """The page of a study that runs.

    Args:
        file: where it is written.
        storage: the storage of the study.
        study: its name.
    """

    def __init__(self, file: Path, storage: str, study: str) -> None:
        self.file, self._storage, self._study = file, storage, study
        self._next = time.monotonic() + _FIRST

    def update(self) -> None:
        """Writes the page again if the last time is long enough ago; a page that cannot be written waits."""
        if time.monotonic() < self._next:
            return
        vega()  # made once, so that it does not count
        began = time.monotonic()
        with suppress(AdamtuneError):  # nothing is committed yet, or the disk is full: the end will say so
            self.write(live=True)
        ended = time.monotonic()
        self._next = ended + max((ended - began) / _SHARE, _FIRST)

    def write(self, live: bool = False) -> None:
        """Writes the page.

        Args:
            live: whether it will be written again, so that it loads itself again.

        Raises:
            AdamtuneError: the study cannot be read, or the file not written.
        """
        write_atomically(self.file, to_html(rank(read_study(self._storage, self._study)), live))
