"""The folder of a training: its checkpoint and its reports, from which it continues after an interruption."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from adamtune.engines.base import Member
from adamtune.engines.workers.log import Log


class Folder:
    """The files of a member's training: a folder while it trains, and a log that is kept.

    Args:
        member: the member.
        parent: the folder of the study's trials.

    Attributes:
        path: the folder.
        checkpoint: the folder in it for what the program keeps of its state.
        log: what the program prints.
    """

    def __init__(self, member: Member, parent: Path) -> None:
        name = f"trial-{member.trial}" + (f".seed-{member.replicate}" if member.replicate else "")
        self.path, self.log = parent.resolve() / name, Log(parent.resolve() / f"{name}.log")
        self.checkpoint, self._reports = self.path / "checkpoint", self.path / "reports.jsonl"

    def create(self) -> None:
        """Makes the folder, if it is not there."""
        self.checkpoint.mkdir(parents=True, exist_ok=True)

    def note(self, entry: Mapping[str, Any]) -> None:
        """Keeps a report or the end of the training."""
        with self._reports.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def entries(self) -> Iterator[Mapping[str, Any]]:
        """Yields what was noted; nothing if there is no checkpoint, because the training begins anew."""
        if not self.checkpoint.is_dir() or not any(self.checkpoint.iterdir()):
            self.remove()
            return
        for line in self._reports.read_text().splitlines() if self._reports.exists() else ():
            try:
                yield json.loads(line)
            except ValueError:  # the search was killed while it wrote the line
                continue

    def remove(self) -> None:
        """Deletes the folder; the log stays."""
        shutil.rmtree(self.path, ignore_errors=True)
