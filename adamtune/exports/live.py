"""Live export of a search: a process that writes what the search has committed, until the search ends.

A process of its own, because a tracker may take a second for a trial, hang, or crash. It runs at the lowest
priority, reads the study as reports do, and ends by itself when the search is gone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from threading import Thread

from adamtune.exports.registry import Place
from adamtune.search.progress import Observer, Progress


class LiveExport:
    """The process that writes the runs of a search to one place.

    Args:
        place: where it writes.
        storage: the storage of the study.
        study: the name of the study.
    """

    def __init__(self, place: Place, storage: str, study: str) -> None:
        self.place = place
        self.notes: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "adamtune.exports.follower"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # Ctrl-C is for the search, which tells the process when to end. A group, not a session: Linux
            # shares the processors among sessions, and the process would get as much as the training.
            process_group=0,
        )
        assert self._process.stdin
        # Not as arguments, which every user of the machine can read: a URL may have a password.
        self._process.stdin.write(json.dumps([*place, storage, study]) + "\n")
        self._process.stdin.flush()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self.notes.append(line.strip())

    def end(self) -> None:
        """Tells the process to write what is left, and to end then."""
        assert self._process.stdin
        with suppress(OSError):  # it has ended already
            self._process.stdin.close()

    def wait(self, seconds: float | None) -> bool:
        """Waits until the process has ended; returns whether it has.

        Args:
            seconds: how long at most; None for as long as it takes.
        """
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def close(self) -> None:
        """Ends the process at once, if it has not ended; then all its failures are among the notes."""
        assert self._process.stdout
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._process.stdout.close()

    @property
    def code(self) -> int | None:
        """The exit code of the process, such as ``follower.NOTHING``; None while it runs."""
        return self._process.returncode


def with_notes(observe: Observer, exports: Sequence[LiveExport]) -> Observer:
    """An observer that gets the failures of exports among the notes of a search."""
    notes: list[str] = []
    taken = [0] * (len(exports) + 1)

    def observe_with_notes(progress: Progress) -> None:
        # In the order in which they come: observers print each note once.
        for index, source in enumerate((progress.notes, *(each.notes for each in exports))):
            notes.extend(source[taken[index] :])
            taken[index] = len(source)
        observe(replace(progress, notes=tuple(notes)))

    return observe_with_notes
