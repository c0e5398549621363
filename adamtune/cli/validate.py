"""``adamtune validate``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from adamtune.config.space import Distribution
    from adamtune.config.study import StudyConfig


def validate(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The study file (YAML).")],
) -> None:
    """Check a study file, and say what will be searched and what is fixed."""
    from adamtune.config import load_study
    from adamtune.storage.location import local_path

    study = load_study(config)
    local_path(study.storage)  # or the search would refuse it later
    typer.echo("\n".join(summary(study)))


def summary(study: StudyConfig) -> list[str]:
    """A resolved study in lines for people."""
    from adamtune.config import Fixed
    from adamtune.reports.text import aligned

    rows = list(_rows(study))
    searched = [(name, text) for name, text, each in rows if not isinstance(each, Fixed)]
    fixed = [(name, text) for name, text, each in rows if isinstance(each, Fixed)]
    return [
        *aligned(_settled(study)),
        f"searched ({len(searched)}):",
        *aligned(searched or [("nothing", "")], "  "),
        "fixed:",
        *aligned(fixed or [("nothing", "")], "  "),
    ]


def _settled(study: StudyConfig) -> list[tuple[str, str]]:
    from adamtune.reports.numbers import clock
    from adamtune.storage.location import without_password

    search = study.search
    timeout = "" if search.timeout is None else f", at most {clock(search.timeout)}"
    return [
        ("study", f"{study.name}, kept in {without_password(study.storage)}"),
        ("task", study.task.name),
        ("objective", f"{study.objective.direction} {study.objective.metric}"),
        ("search", f"{study.trials} trials{timeout}; sampler {search.sampler}, pruner {search.pruner}"),
        ("seeds", f"{search.seeds} for each trial, from seed {search.seed}"),
        ("training", _training(study)),
    ]


def _training(study: StudyConfig) -> str:
    """What the search will say of the engine, as far as it can be known without torch."""
    from adamtune.engines.plan import describe
    from adamtune.tasks.registry import TASKS

    return describe(
        study.engine,
        study.population,
        study.device,
        study.trials,
        study.search.seeds,
        TASKS[study.task.name].settings.model_validate(study.task.settings).step_bytes(),
    )


def _rows(study: StudyConfig) -> Iterator[tuple[str, str, Distribution]]:
    """Name, text and distribution of everything that a trial is trained with."""
    from adamtune.config import Fixed

    space = study.space
    yield "optimizer", _text(space.optimizer), space.optimizer
    yield from _group(space.optimizers)
    yield "schedule", _text(space.schedule), space.schedule
    yield from _group(space.schedules)
    settled = {name: Fixed(value=value) for name, value in study.task.settings.items()}
    yield from _group({study.task.name: {**settled, **space.task}})


def _group(entries: Mapping[str, Mapping[str, Distribution]]) -> Iterator[tuple[str, str, Distribution]]:
    """The hyperparameters of several optimizers or schedules, each with those that alone have it so."""
    found: dict[tuple[str, str], tuple[Distribution, list[str]]] = {}
    for entry, hyperparameters in entries.items():
        for name, each in hyperparameters.items():
            found.setdefault((name, _text(each)), (each, []))[1].append(entry)
    for (name, text), (each, having) in found.items():
        yield name, text if len(having) == len(entries) else f"{text} ({', '.join(having)})", each


def _text(distribution: Distribution) -> str:
    from adamtune.config import Choice, Fixed
    from adamtune.reports.numbers import setting

    write = setting("", digits=12)
    if isinstance(distribution, Fixed):
        return write(distribution.value)
    if isinstance(distribution, Choice):
        return ", ".join(map(write, distribution.values))
    return f"{write(distribution.low)} to {write(distribution.high)}" + (", log" if distribution.log else "")
