"""Checkpoints: the state of training at each commit of a study, in files next to its database.

A commit and its checkpoint have the same number. The file of number N + 1 is written and synced first;
then one transaction commits the trials and the number; then the file of number N is deleted. Whenever the
process dies, or the power fails, the number in the database is that of an existing file.

A checkpoint holds only tensors and plain values, so loading one never runs code.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adamtune.errors import AdamtuneError, memory_error
from adamtune.files import sync
from adamtune.storage.local.database import database_errors
from adamtune.storage.location import companion

if TYPE_CHECKING:
    from adamtune.storage.local.storage import LocalStorage

COMMIT_ATTR = "adamtune:commit"
"""Study system attribute: ``{"number": N, "checkpoint": whether one belongs to commit N}``."""


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Writes ``state`` to ``path``, synced; the file is complete or not there at all.

    Args:
        path: the file; an existing one is replaced.
        state: dicts with string or integer keys, lists, tuples, tensors, numbers, strings, booleans, None.

    Raises:
        TypeError: anything else in ``state``.
        AdamtuneError: it cannot be written; an existing file is as it was.
    """
    import torch

    # torch.save would write any object, and `load` would refuse it only when it is needed.
    _check_plain(state, "state")
    draft = path.with_name(path.name + ".tmp")
    with database_errors(path):
        try:
            with draft.open("wb") as file:
                torch.save(state, file)
            # Before the file gets its name: after a power cut, the name could otherwise have no content.
            sync(draft)
            os.replace(draft, path)
        except BaseException as error:
            draft.unlink(missing_ok=True)
            if isinstance(error, RuntimeError):  # torch's writer hides the operating system's error
                raise AdamtuneError(
                    f"{path}: the checkpoint cannot be written, most likely for want of space ({error})."
                    " Everything committed is safe. Free some space, then try again."
                ) from error
            raise
        # The new name itself is on the disk only when its folder is.
        sync(path.parent)


def load(path: Path) -> dict[str, Any]:
    """What :func:`save` wrote, on the CPU.

    Raises:
        AdamtuneError: the file is missing, damaged, holds more than tensors and plain values, or more than
            there is memory for.
    """
    import pickle

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch's, on files that it refuses in the end
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (
        OSError,
        EOFError,
        RuntimeError,
        ValueError,
        KeyError,
        MemoryError,
        pickle.UnpicklingError,
    ) as error:
        # A file that is cut short, overwritten or of another format raises any of these.
        if memory_error(error) is not None:
            raise AdamtuneError(
                f"{path}: the memory is used up by loading this checkpoint ({error}). It was left as it is:"
                " end other programs, then try again."
            ) from error
        reason = (
            "it is missing" if isinstance(error, FileNotFoundError) else "it is damaged, or not a checkpoint"
        )
        raise AdamtuneError(f"{path}: this checkpoint cannot be loaded: {reason}. {_WAYS_OUT}") from error
    return state


class Checkpoints:
    """The checkpoint files of one study of a local database, each paired with a commit.

    Args:
        database: the database file.
        study_name: the study; the caller holds its lock.
    """

    def __init__(self, database: Path, study_name: str) -> None:
        self.database = database
        self.study_name = study_name
        # One thread: a second commit must not overtake the first.
        self._writer = ThreadPoolExecutor(max_workers=1)
        self._begun: Future[None] | None = None

    def begin(self, storage: LocalStorage, study_id: int, state: Mapping[str, Any] | None) -> None:
        """Begins a commit in another thread, so that training continues.

        Args:
            storage: the storage of the database; it may not be changed before ``finish``.
            study_id: the study's id there.
            state: as :func:`save`; it may not be changed. None where no trial is in training.
        """
        self.finish()
        self._begun = self._writer.submit(self._commit, storage, study_id, state)

    def finish(self) -> None:
        """Waits for the commit that was begun, if one was.

        Raises:
            AdamtuneError: the commit failed. The last one and its checkpoint are unchanged, and the next
                commit writes the changes.
        """
        begun, self._begun = self._begun, None
        if begun is not None:
            begun.result()

    def _commit(self, storage: LocalStorage, study_id: int, state: Mapping[str, Any] | None) -> None:
        number = storage.get_study_system_attrs(study_id).get(COMMIT_ATTR, {"number": 0})["number"] + 1
        if state is not None:
            save(self._path(number), {"study": self.study_name, "number": number, "state": state})
        storage.set_study_system_attr(
            study_id, COMMIT_ATTR, {"number": number, "checkpoint": state is not None}
        )
        storage.commit()
        self.remove(keep=number)

    def restore(self, storage: LocalStorage, study_id: int) -> dict[str, Any] | None:
        """The state of the last commit; None where no trial was in training.

        Raises:
            AdamtuneError: the checkpoint is missing, damaged, or belongs to another commit.
        """
        last = storage.get_study_system_attrs(study_id).get(COMMIT_ATTR)
        if last is None or not last["checkpoint"]:
            return None
        path = self._path(last["number"])
        content = load(path)
        if (content.get("study"), content.get("number")) != (self.study_name, last["number"]):
            raise AdamtuneError(
                f"{path}: this checkpoint belongs to commit {content.get('number')} of study"
                f" {content.get('study')}, not to commit {last['number']} of {self.study_name}. {_WAYS_OUT}"
            )
        state: dict[str, Any] = content["state"]
        return state

    def close(self) -> None:
        """Waits for the commit that was begun, if one was; its error is not raised."""
        try:
            self._writer.shutdown()
        except KeyboardInterrupt:
            self._writer.shutdown()  # the study's lock must be held until the commit is written
            raise

    def remove(self, keep: int | None = None) -> None:
        """Deletes the study's checkpoints except number ``keep``."""
        with database_errors(self.database):
            # Drafts of a killed process are deleted, too; the whole name is matched, so no other study loses
            # a file.
            for path in self.database.parent.iterdir():
                match = self._pattern.fullmatch(path.name)
                if match and not (match["end"] == "" and int(match["number"]) == keep):
                    path.unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return companion(self.database, self.study_name, f".{number}.ckpt")

    @property
    def _pattern(self) -> re.Pattern[str]:
        stem = re.escape(companion(self.database, self.study_name, "").name)
        return re.compile(rf"{stem}\.(?P<number>\d+)\.ckpt(?P<end>(\.tmp)?)")


_WAYS_OUT = (
    "The finished trials are safe in the database (`adamtune report`), but the trials that were in training"
    " cannot go on without it. Put the file back, or let others be trained in their place:"
    " `adamtune resume STUDY --abandon`."
)


def _check_plain(value: object, where: str) -> None:
    from torch import Tensor

    # Exact types: an instance of a subclass, such as a NumPy float64, would be pickled as an object.
    if value is None or isinstance(value, Tensor) or type(value) in (bool, int, float, str):
        return
    if isinstance(value, Mapping) and type(value) is dict:
        for key, each in value.items():
            if type(key) not in (str, int):
                raise TypeError(f"{where}: the key {key!r} is no string or integer")
            _check_plain(each, f"{where}[{key!r}]")
    elif type(value) in (list, tuple):
        for index, each in enumerate(value):  # type: ignore[arg-type]
            _check_plain(each, f"{where}[{index}]")
    else:
        raise TypeError(f"{where} is a {type(value).__name__}; a checkpoint holds tensors and plain values")
