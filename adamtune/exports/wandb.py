"""Runs of Weights & Biases, written offline: ``wandb sync`` uploads them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from adamtune.exports.runs import Run

# Read when wandb is imported: nothing is to be sent anywhere.
os.environ.setdefault("WANDB_ERROR_REPORTING", "false")

import wandb

SETTINGS = wandb.Settings(
    silent=True,
    console="off",  # stdout and stderr stay as they are
    disable_git=True,
    disable_code=True,
    disable_job_creation=True,
    save_code=False,
    x_disable_stats=True,
    x_disable_meta=True,
    x_disable_machine_info=True,
    x_save_requirements=False,
)
MARK = ".fingerprint"
"""The file beside a run's own that says what was written."""


class WandbTarget:
    """The runs of a study as offline runs: a project for the study, a run for each trial that has ended.

    An offline run cannot be continued. One that has changed is deleted and written again under its id, so
    that an upload replaces it.

    Args:
        place: the folder, in which wandb makes its folder ``wandb``.
        study: the name of the study.
    """

    def __init__(self, place: str, study: str) -> None:
        self._root = Path(place).expanduser()
        self._root.mkdir(parents=True, exist_ok=True)
        self._project = re.sub(r"[/\\#?%:]", "_", study)[:128]
        self._folders: dict[str, list[Path]] = {}
        self._written: dict[str, str] = {}
        for each in self._root.glob("wandb/offline-run-*-*"):
            self._folders.setdefault(each.name.split("-", 3)[-1], []).append(each)

    def write(self, run: Run) -> bool:
        """Writes a run; see ``Target.write``. One that is running waits for its end."""
        run_id = _run_id(run)
        if run.state == "running" or self._written.get(run_id) == run.fingerprint:
            return False
        changed = self._write(run, run_id)
        self._written[run_id] = run.fingerprint
        return changed

    def _write(self, run: Run, run_id: str) -> bool:
        folders = self._folders.get(run_id, [])
        if [_mark(each) for each in folders] == [run.fingerprint]:
            return False
        for each in folders:
            shutil.rmtree(each, ignore_errors=True)
        folder = self._log(run, run_id)
        # The last: of an export that is killed before, the run is written again.
        (folder / MARK).write_text(run.fingerprint)
        self._folders[run_id] = [folder]
        return True

    def _log(self, run: Run, run_id: str) -> Path:
        """Writes a run and returns its folder."""
        logged = wandb.init(
            dir=str(self._root),
            mode="offline",
            project=self._project,
            id=run_id,
            name=run.name,
            group=run.study[:128],
            job_type="study" if run.trial is None else "trial",
            tags=[run.state],
            config={**run.params, "adamtune": dict(run.tags)},
            reinit="finish_previous",
            settings=SETTINGS,
        )
        for step, values in run.rows:
            logged.log(values, step=step)
        logged.summary.update(_summary(run))
        folder = Path(logged.dir).parent
        logged.finish(exit_code=int(run.state == "failed"))
        return folder

    def close(self) -> None:
        """Ends the process that wandb has started."""
        wandb.teardown()


def _mark(folder: Path) -> str:
    """What was written into the folder of a run; empty where it was not finished."""
    mark = folder / MARK
    return mark.read_text() if mark.exists() else ""


def _run_id(run: Run) -> str:
    """The id of a run: the same at each export, and another for each study."""
    study = sha256(run.study.encode()).hexdigest()[:12]
    return f"{study}-{'study' if run.trial is None else run.trial}"


def _summary(run: Run) -> Mapping[str, Any]:
    return {"state": run.state} | {name: values[max(values)] for name, values in run.points.items() if values}
