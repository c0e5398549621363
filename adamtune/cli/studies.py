"""``adamtune studies``."""

from __future__ import annotations

import json
import math
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adamtune.cli.options import STORAGE, Storage, program

if TYPE_CHECKING:
    from adamtune.storage.records import StudySummary


class Format(StrEnum):
    """The formats of a list of studies."""

    table = "table"
    json = "json"


def studies(
    format: Annotated[Format, typer.Option("--format", help="Output format")] = Format.table,
    storage: Storage = STORAGE,
) -> None:
    """List the studies in a database, oldest first."""
    from adamtune.storage.location import without_password
    from adamtune.storage.studies import list_studies

    found = list_studies(storage)
    if format is Format.json:
        typer.echo(json.dumps([_plain(study) for study in found], indent=1, allow_nan=False))
    elif found:
        typer.echo("\n".join(_table(found)))
    else:
        typer.echo(f"No studies in {without_password(storage)} yet. To start one: {program()} search CONFIG")


def _table(found: list[StudySummary]) -> list[str]:
    from adamtune.reports.console import counts
    from adamtune.reports.text import Column, grid, rounded

    heading, lines = grid(
        [
            Column("study", [study.name for study in found], left=True),
            Column("best", ["" if study.best is None else rounded(study.best) for study in found]),
            Column("metric", [study.metric for study in found], left=True),
            Column("last activity", [_time(study)[:16].replace("T", " ") for study in found], left=True),
            Column("trials", [counts(study.counts, study.in_use) for study in found], left=True),
        ]
    )
    return heading + lines


def _time(study: StudySummary) -> str:
    return study.last_activity.astimezone().isoformat(timespec="seconds") if study.last_activity else ""


def _plain(study: StudySummary) -> dict[str, Any]:
    return {
        "study": study.name,
        "metric": study.metric,
        "direction": study.direction,
        "counts": dict(study.counts),
        # JSON has no infinity, which a study of another program may have.
        "best": study.best if study.best is not None and math.isfinite(study.best) else None,
        "last_activity": _time(study) or None,
    }
