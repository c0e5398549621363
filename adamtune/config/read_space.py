"""From the file's optimizer and space sections to a complete Space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from adamtune.catalog import Entry
from adamtune.config.hyperparameters import (
    ONE_MINUS,
    LeafReader,
    as_trained,
    forms,
    having,
    legal_type,
    writable,
)
from adamtune.config.problems import KeyPath, Problems, found, show, unknown
from adamtune.config.space import Distribution, Fixed, Space, combinations
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.schedules.registry import SCHEDULES
from adamtune.tasks.registry import TASKS

DEFAULT_SPACE = {"lr": {"low": 1e-5, "high": 1e-1, "log": True}}
"""What is searched where the file has no ``space``."""
OPTIMIZER, SCHEDULE = ("space",), ("space", "schedule")
Section = dict[str, dict[str, Distribution]]


def read_space(
    optimizer: object, space: object, task: Mapping[str, Distribution], problems: Problems
) -> Space:
    """The space of a study, to be used only if no problem is recorded.

    Args:
        optimizer, space: those sections of the file.
        task: the searched settings of the task, read already.
    """
    if not isinstance(space, dict):
        problems.add(OPTIMIZER, found(space, "a mapping of hyperparameters, schedule and task"))
        space = {}
    plain = {key: each for key, each in space.items() if key not in ("schedule", "task")}
    optimizers = _section(optimizer, ("optimizer",), plain, OPTIMIZER, problems)
    _check_together(optimizers, plain, problems)
    schedule = space.get("schedule", "constant")
    schedule = dict(schedule) if isinstance(schedule, dict) else {"name": schedule}
    names = schedule.pop("name", "constant")
    where = (*SCHEDULE, "name") if isinstance(space.get("schedule"), dict) else SCHEDULE
    schedules = _section(names, where, schedule, SCHEDULE, problems)
    return Space(optimizers=optimizers, schedules=schedules, task=task)


def _section(
    names: object, names_path: KeyPath, raw: dict[str, object], path: KeyPath, problems: Problems
) -> Section:
    what, catalog = ("optimizer", OPTIMIZERS) if path == OPTIMIZER else ("schedule", SCHEDULES)
    # With a wrong name, what applies is anybody's guess: check the values and leave it at that.
    entries = [catalog[name] for name in _read_names(names, what, catalog, names_path, problems) or catalog]
    for key in raw:
        if not any(key in writable(entry) for entry in entries):
            problems.add((*path, key), _inapplicable(key, entries, path))
        if ONE_MINUS + key in raw:
            problems.add((*path, ONE_MINUS + key), f"found with {key}, which says the same; keep one")
    return {entry.name: _hyperparameters(entry, entries, raw, path, problems) for entry in entries}


def _read_names(
    raw: object, what: str, catalog: Mapping[str, Entry], path: KeyPath, problems: Problems
) -> list[str] | None:
    """The names, or None after the problems with them are recorded."""
    names = raw if isinstance(raw, list) else [raw]
    if not names:
        problems.add(path, f"found an empty list; allowed: {', '.join(catalog)}")
        return None
    legal: list[str] = []
    for index, name in enumerate(names):
        place = (*path, index) if isinstance(raw, list) else path
        if not isinstance(name, str):
            problems.add(place, found(name, ", ".join(catalog)))
        elif name not in catalog:
            problems.add(place, unknown(what, name, catalog))
        elif name in legal:
            problems.add(place, f"found {show(name)} twice; keep one")
        else:
            legal.append(name)
    return legal if len(legal) == len(names) else None


def _hyperparameters(
    entry: Entry, entries: Sequence[Entry], raw: dict[str, object], path: KeyPath, problems: Problems
) -> dict[str, Distribution]:
    """Every hyperparameter of ``entry``: as the file says, or fixed at its default."""
    complete: dict[str, Distribution] = {}
    for plain in entry.hyperparameters:
        complete[plain.name] = Fixed(value=plain.default)
        for form in forms(plain):
            if form.name not in raw:
                continue
            note = f" for {entry.name}" if _ranges_differ(form.name, entries) else ""
            read = LeafReader(legal_type(form), problems, note).read(raw[form.name], (*path, form.name))
            if read is not None and form is not plain:
                del complete[plain.name]
            if read is not None:
                complete[form.name] = read
    return complete


def _check_together(optimizers: Section, raw: dict[str, object], problems: Problems) -> None:
    """Records, for each optimizer, a first combination of hyperparameters that it does not take."""
    for name, hyperparameters in optimizers.items():
        refused = (each for each in combinations(hyperparameters) if _refusal(name, each))
        for first in islice(refused, 1):
            defaults = {key: value for key, value in OPTIMIZERS[name].defaults.items() if key in raw}
            culprits = [key for key, value in defaults.items() if not _refusal(name, {**first, key: value})]
            problems.add((*OPTIMIZER, *culprits[:1]), _refusal(name, first))


def _refusal(name: str, combination: dict[str, Any]) -> str:
    try:
        OPTIMIZERS[name].check(dict(as_trained(*each) for each in combination.items()))
    except ValueError as error:
        return str(error)
    return ""


def _ranges_differ(name: str, entries: Sequence[Entry]) -> bool:
    written = [writable(entry).get(name) for entry in entries]
    return len({each.legal for each in written if each}) > 1


def _inapplicable(key: str, entries: Sequence[Entry], path: KeyPath) -> str:
    """Why a key of the space can never apply, and where it would."""
    here, there = (OPTIMIZERS, SCHEDULES) if path == OPTIMIZER else (SCHEDULES, OPTIMIZERS)
    chosen = ", ".join(entry.name for entry in entries)
    if others := having(key, here):
        return f"can never apply: {chosen} does not have {key}; these have it: {', '.join(others)}"
    if having(key, there):
        return f"unknown here; move it to {'space.schedule' if there is SCHEDULES else 'space'}"
    if path == OPTIMIZER and any(key in task.settings.model_fields for task in TASKS.values()):
        return "unknown here; a searched setting of the task goes to space.task"
    legal = {name: None for entry in entries for name in writable(entry)}
    extra = ("schedule", "task") if path == OPTIMIZER else ("name",)
    return unknown("hyperparameter", key, [*legal, *extra])
