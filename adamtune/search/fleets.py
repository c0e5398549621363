"""The workers that a study file asks for. Free of torch and Optuna."""

from __future__ import annotations

from pathlib import Path

from adamtune.config import StudyConfig
from adamtune.engines.distributed.fleet import Fleet
from adamtune.tasks.entry import TaskEntry
from adamtune.tasks.program import ProgramEntry


def fleet_of(config: StudyConfig) -> Fleet | None:
    """The workers of a study; None where the engine trains in this process, or starts functions itself."""
    entry, asked = config.task.entry, config.workers
    ray = None if config.cluster == "none" else config.cluster.partition(":")[2] or "auto"
    is_program = isinstance(entry, ProgramEntry)
    rounds = config.deterministic
    if rounds == "auto":
        rounds = ray is None and not is_program
    workers = None if asked == "auto" else asked
    if ray or ((workers or 1) > 1 and (rounds or not is_program)):
        return Fleet(workers, ray, _number(config.cpus), config.gpus, rounds, _code(entry))
    return None


def training_device(config: StudyConfig) -> tuple[str, bool]:
    """The device of a new study, perhaps "auto", and whether this machine has to have it.

    The machine of a search whose workers are on a cluster needs no GPU.
    """
    if config.cluster == "none":
        return config.device, True
    return "cuda" if config.gpus else "cpu", False


def _number(cpus: float | str) -> float | None:
    return None if isinstance(cpus, str) else cpus


def _code(entry: TaskEntry | ProgramEntry) -> Path | None:
    """The folder of a user's code; None for a task of a package, which every machine has to have."""
    if isinstance(entry, ProgramEntry):
        return entry.folder.resolve()
    return None if entry.file is None else entry.file.parent
