"""Opens journals, reads them for reports, and says what is wrong with one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adamtune.errors import AdamtuneError, UsageError
from adamtune.storage.reader import OptunaReader

if TYPE_CHECKING:
    from adamtune.storage.journal.storage import SharedJournal


@contextmanager
def journal_errors(path: Path) -> Iterator[None]:
    """Turns failures of the file system into messages; for opening a journal, and for using it.

    Raises:
        AdamtuneError: the file cannot be read or written.
    """
    try:
        yield
    except OSError as error:
        raise AdamtuneError(
            f"{error.filename or path}: {error.strerror or error}. What was recorded before is safe."
            " Remove the cause, then try again."
        ) from error


def open_journal(path: Path, create: bool = True) -> SharedJournal:
    """Optuna's storage for a journal; without ``create``, a file that does not exist is a UsageError.

    Raises:
        Refused: the file is no journal.
        AdamtuneError: it is damaged, or cannot be read or written.
    """
    try:
        import fcntl  # noqa: F401
    except ImportError as error:
        raise UsageError(f"{path}: journals need the locks of Linux or macOS.") from error
    from adamtune.storage.journal.storage import SharedJournal

    with journal_errors(path):
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        elif not path.exists():
            raise UsageError(
                f"{path}: there is no such journal. Run `adamtune search CONFIG` first,"
                " or name another file as the storage."
            )
        return SharedJournal(path)


@contextmanager
def read_journal(path: Path) -> Iterator[JournalReader]:
    """A reader of a journal's studies; creates nothing.

    Raises:
        UsageError: there is no such file.
        Refused: it is no journal.
        AdamtuneError: it is damaged, or cannot be read.
    """
    with journal_errors(path):
        yield JournalReader(open_journal(path, create=False))


class JournalReader(OptunaReader):
    """Reads the studies of a journal."""

    def groups(self) -> list[tuple[Any, ...]]:
        """What ``adamtune.storage.studies.GROUPS`` selects from a database."""
        return [row for study in self.studies() for row in self._groups(study.study_id)]

    def _groups(self, study_id: int) -> Iterator[tuple[Any, ...]]:
        groups = defaultdict(list)
        for trial in self.trials(study_id):
            groups[trial.state.name, "diverged_at" in trial.user_attrs].append(trial)
        for (state, diverged), trials in groups.items():
            values = [each.values[0] for each in trials if each.values and isfinite(each.values[0])]
            times = [time for each in trials if (time := each.datetime_complete or each.datetime_start)]
            if state != "WAITING":
                ends = min(values, default=None), max(values, default=None)
                yield study_id, state, diverged, len(trials), *ends, _utc(max(times, default=None))


def _utc(time: datetime | None) -> datetime | None:
    return None if time is None else time.astimezone(UTC).replace(tzinfo=None)
