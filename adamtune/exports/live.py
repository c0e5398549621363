"""Live export of a search: a process that writes what the search has committed, until the search ends.

A process of its own, because a tracker may take a second for a trial, hang, or crash. It runs at the lowest
priority, reads the study as reports do, and ends by itself when the search is gone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from threading import Thread

from adamtune.exports.registry import Place, find_place
from adamtune.search.progress import Observer, Outcome, Progress

INTERRUPTED_SECONDS = 10.0
"""How long a search that was interrupted, or has failed, waits until what is left is written."""

Search = Callable[[Observer], Outcome]
"""A search, which calls the observer that it gets after every round."""


@contextmanager
def exported(
    names: Sequence[str],
    option: str,
    storage: str,
    study: str,
    say: Callable[[str], None],
    fail: Callable[[Place], None],
) -> Iterator[Callable[[Search], Search]]:
    """Exports a study while the block runs, and at its end waits until everything is written.

    Yields what makes a search one whose observer also gets the failures of the exports. A search that was
    interrupted waits for a few seconds, one that was interrupted twice not at all.

    Args:
        names: the places, as the user named them.
        option: the option or argument that names them, for messages.
        storage: the storage of the study, which may not be there yet.
        study: the name of the study.
        say: gets what people may want to know.
        fail: gets a place to which not everything was written.

    Raises:
        UsageError, Refused: a place is wrong; see ``find_place``.
    """
    places = [find_place(each, option, storage) for each in names]
    exports = [LiveExport(each, storage, study) for each in places]
    seconds: float | None = INTERRUPTED_SECONDS

    def with_exports(search: Search) -> Search:
        def run(observe: Observer) -> Outcome:
            nonlocal seconds
            try:
                outcome = search(with_notes(observe, exports))
            except KeyboardInterrupt:
                seconds = 0.0
                raise
            seconds = INTERRUPTED_SECONDS if outcome.reason == "interrupted" else None
            return outcome

        return run

    try:
        yield with_exports if exports else lambda search: search
    finally:
        for each in exports:
            each.end()
        for each in exports:
            _finish(each, seconds, say, fail)


def _finish(
    export: LiveExport, seconds: float | None, say: Callable[[str], None], fail: Callable[[Place], None]
) -> None:
    """Waits for an export, and says how it ended."""
    from adamtune.exports.follower import NOTHING

    place = export.place
    try:
        if seconds != 0 and not export.wait(1):
            say(f"Writing the rest to {place}; Ctrl-C leaves it for later.")
            export.wait(seconds)
    except KeyboardInterrupt:
        pass
    finally:
        export.close()
    if export.code == 0:
        say(f"Logged to {place}. View: {place.view}")
    elif export.code != NOTHING:
        fail(place)


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
