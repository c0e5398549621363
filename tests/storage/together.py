"""Several storages that begin trials of one study at the same time, until none remains."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import count

from adamtune.storage.processes import NoTrialRemains, ProcessStorage

ASKING = 4


def begun_together(
    opened: Callable[[], AbstractContextManager[ProcessStorage]], study_id: int, limit: int
) -> int:
    """How many trials ``ASKING`` storages begin in all, each in a thread and until it gets no more."""
    together = threading.Barrier(ASKING)

    def ask(_: int) -> int:
        with opened() as storage:
            storage.limit(study_id, limit)
            together.wait(60)
            for begun in count():
                try:
                    storage.create_new_trial(study_id)
                except NoTrialRemains:
                    return begun
        raise AssertionError

    with ThreadPoolExecutor(ASKING) as pool:
        return sum(pool.map(ask, range(ASKING)))
