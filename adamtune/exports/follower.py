"""The program that exports a study while a search trains it: ``python -m adamtune.exports.follower``.

One line of JSON on stdin is the kind and place of the tracker, the storage and the study. It writes until
stdin ends, and once more then. It exits with 0 if everything was written. A failure is one line on stdout.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from threading import Event, Thread

from adamtune.analysis.ranking import rank
from adamtune.errors import UsageError
from adamtune.exports.registry import Place, tracker_error
from adamtune.exports.runs import Target, runs
from adamtune.storage.records import StudyRecord
from adamtune.storage.studies import read_study

SECONDS = 2.0
"""The time between two exports. A search commits about as often."""
IDLE = 20
"""After each piece of work it waits so many times as long, so that it takes 5 % of one processor."""
PIECE_SECONDS = 0.05
"""It works for so long, in time of the processor, between two pauses."""
RETRY_SECONDS = 30.0
"""The time until it tries again after a failure."""
NOTHING = 3
"""The exit code where there was no study to write."""


class Follower:
    """Exports a study again and again, and each time writes what is new.

    Args:
        place: where it writes.
        storage: the storage of the study, which the search may not have made yet.
        study: the name of the study.
    """

    def __init__(self, place: Place, storage: str, study: str) -> None:
        self._place, self._storage, self._study = place, storage, study
        self._target: Target | None = None
        self.failed = self.wrote = False

    def run(self, over: Event) -> None:
        """Exports until ``over``, and a last time then."""
        ending = False
        while not ending:
            ending = over.is_set()  # before the export, which then has everything
            self._try(over)
            over.wait(RETRY_SECONDS if self.failed else SECONDS)
        if self._target:
            self._target.close()

    def _try(self, over: Event) -> None:
        try:
            self._export(over)
        except Exception as error:  # whatever a tracker raises
            if not self.failed:
                print(f"{tracker_error(self._place, error)} (the search goes on)", flush=True)
            self._target, self.failed = None, True
        else:
            self.failed = False

    def _export(self, over: Event) -> None:
        begun, study = time.process_time(), self._read()
        if study is None:
            return
        self._target = self._target or self._place.open(self._study)
        for run in runs(rank(study)):
            self._target.write(run)
            spent = time.process_time() - begun
            if spent > PIECE_SECONDS:
                over.wait(IDLE * spent)
                begun = time.process_time()
        over.wait(IDLE * (time.process_time() - begun))
        self.wrote = True

    def _read(self) -> StudyRecord | None:
        """The study; None where the search has not made it yet."""
        try:
            return read_study(self._storage, self._study)
        except UsageError:
            return None


def main() -> None:
    """Runs the program."""
    with suppress(OSError, AttributeError):
        os.nice(19)  # the training goes first
    kind, where, storage, study = json.loads(sys.stdin.readline())
    over = Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        over.set()

    Thread(target=wait_for_the_end, daemon=True).start()
    follower = Follower(Place(kind, where), storage, study)
    follower.run(over)
    sys.stdout.flush()
    # Not sys.exit: threads of a tracker's library may wait for its server.
    os._exit(1 if follower.failed else 0 if follower.wrote else NOTHING)


if __name__ == "__main__":
    main()
