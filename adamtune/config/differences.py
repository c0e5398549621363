"""What differs between two studies, of what decides their trials."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from adamtune.config.problems import dotted, show
from adamtune.config.study import StudyConfig


class Difference(NamedTuple):
    """One key whose value differs between two studies; the value is None where a study lacks the key."""

    path: str
    old: object
    new: object

    def __str__(self) -> str:
        return f"{self.path}: {show(self.old)} -> {show(self.new)}"


def differences(old: StudyConfig, new: StudyConfig) -> list[Difference]:
    """The changes from one study to another that change its trials.

    The list is empty exactly when the two hashes agree. An optimizer or a schedule that only one study
    has is one difference; its hyperparameters are not listed.

    Args:
        old: the stored study.
        new: the study of the file.

    Returns:
        The differences by key path, in the order of the file.
    """
    before, after = dict(_file_values(old)), dict(_file_values(new))
    owners = [{owner for owner, _ in each} for each in (before, after)]
    keys = [key for key in before | after if key[0] in owners[0] & owners[1]]
    changed = [Difference(path, before.get((owner, path)), after.get((owner, path))) for owner, path in keys]
    return list({repr(each): each for each in changed if each.old != each.new}.values())


def _file_values(study: StudyConfig) -> Iterator[tuple[tuple[str, str], object]]:
    """Every value that decides a trial, by its optimizer or schedule ("" if none) and its key path."""
    meaning = study.meaning()
    yield ("", "task.name"), study.task.name
    for key in ("command", "metrics", "parameters"):
        if key in meaning["task"]:
            yield ("", f"task.{key}"), meaning["task"][key]
    yield from ((("", f"task.{name}"), each) for name, each in study.task.settings.items())
    yield ("", "optimizer"), list(study.optimizers)
    yield ("", "space.schedule.name"), list(study.space.schedules)
    for owner, path, distribution in study.space.distributions():
        yield (owner, dotted(path)), distribution.file_value()
    yield ("", "search.start"), study.search.start
    for section in ("search", "objective"):
        yield from ((("", f"{section}.{key}"), each) for key, each in meaning[section].items())
    yield from ((("", key), getattr(study, key)) for key in ("engine", "population", "device"))
    yield from ((("", key), each) for key, each in study.recipe._asdict().items())
