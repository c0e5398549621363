"""What changed between two studies, in the words of the study file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from adamtune.config.problems import dotted, show
from adamtune.config.study import Study


class Difference(NamedTuple):
    """One key whose value differs; None where a study does not have it."""

    path: str
    old: object
    new: object

    def __str__(self) -> str:
        return f"{self.path}: {show(self.old)} -> {show(self.new)}"


def differences(old: Study, new: Study) -> list[Difference]:
    """Every change of what the trials mean, by key path as in the study file.

    Empty exactly when the two hashes agree. An optimizer or a schedule that only one study
    has counts as one difference, whatever hyperparameters come with it.
    """
    before, after = dict(_written(old)), dict(_written(new))
    owners = [{owner for owner, _ in each} for each in (before, after)]
    keys = [key for key in before | after if key[0] in owners[0] & owners[1]]
    changed = [Difference(path, before.get((owner, path)), after.get((owner, path))) for owner, path in keys]
    return list({repr(each): each for each in changed if each.old != each.new}.values())


def _written(study: Study) -> Iterator[tuple[tuple[str, str], object]]:
    """Every meaningful value, by the optimizer or schedule that it belongs to (or none) and its path."""
    meaning = study.meaning()
    yield ("", "task.name"), study.task.name
    yield from ((("", f"task.{name}"), each) for name, each in study.task.settings.items())
    yield ("", "optimizer"), list(study.optimizers)
    yield ("", "space.schedule.name"), list(study.space.schedules)
    for owner, path, leaf in study.space.leaves():
        yield (owner, dotted(path)), leaf.written()
    for section in ("search", "objective"):
        yield from ((("", f"{section}.{key}"), each) for key, each in meaning[section].items())
    yield from ((("", key), meaning[key]) for key in ("engine", "population", "device"))
