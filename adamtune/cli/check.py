"""``adamtune check``."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adamtune.cli.options import STORAGE, Ray, Storage, complete_study, on_ray, say, slow_imports
from adamtune.errors import UsageError

if TYPE_CHECKING:
    from adamtune.reports.checks import Check

TOLERANCE = "2%"


class Format(StrEnum):
    """The formats of an answer."""

    text = "text"
    json = "json"


class Against(StrEnum):
    """What a study's best trial is compared with."""

    default = "default"
    baseline = "baseline"


def check(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="STUDY|CONFIG",
            help="Name of a study (with --better-than), or a study file (with --baseline)",
            autocompletion=complete_study,
        ),
    ],
    *,
    better_than: Annotated[
        Against | None,
        typer.Option("--better-than", help="Is the best trial of the study better, by its stored verdict?"),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            "--baseline",
            metavar="FILE",
            help="Is the study file no worse than these settings? Both are trained now",
        ),
    ] = None,
    candidate: Annotated[
        Path | None,
        typer.Option("--candidate", metavar="FILE", help="Settings in place of the space of the study file"),
    ] = None,
    tolerance: Annotated[
        str | None,
        typer.Option(
            "--tolerance",
            metavar="N%|N",
            help="How much worse it may be, of the baseline's mean or in the metric's own units"
            f" (default: {TOLERANCE})",
        ),
    ] = None,
    format: Annotated[Format, typer.Option("--format", help="Output format")] = Format.text,
    junit: Annotated[
        str | None, typer.Option("--junit", metavar="FILE", help="Write the answer to this file as JUnit XML")
    ] = None,
    ray: Ray = None,
    storage: Storage = STORAGE,
) -> None:
    """Check a study, or settings, for CI.

    The exit code is 0 if it passes, 4 if it fails, and 5 if it is inconclusive.
    """
    from adamtune.storage.location import check_output, file_path

    if (better_than is None) == (baseline is None):
        raise UsageError("give --better-than default for a study, or --baseline FILE for a study file")
    file = None if junit is None else file_path(junit)
    if file is not None:
        check_output(file, storage)
    if better_than is not None:
        if candidate or tolerance or ray:
            raise UsageError(
                "--candidate, --tolerance and --ray go with --baseline FILE, not with --better-than"
            )
        found = _check_study(subject, better_than, storage)
    else:
        assert baseline is not None
        found = _check_settings(Path(subject), baseline, candidate, tolerance or TOLERANCE, ray)
    if file is not None:
        from adamtune.reports.files import write_atomically

        write_atomically(file, found.to_junit())
    if os.environ.get("GITHUB_ACTIONS") == "true":
        typer.echo(found.annotation(), err=True)
    if format is Format.json:
        typer.echo(found.to_json())
    else:
        say(found.sentence)
    raise typer.Exit(found.exit_code)


def _check_study(name: str, against: Against, storage: str) -> Check:
    from adamtune.analysis.ranking import rank
    from adamtune.reports.checks import check_of_study
    from adamtune.storage.studies import read_study

    record = read_study(storage, name)
    asked = (record.confirmation or {}).get("asked", "default")
    if against is Against.default and asked != "default":
        raise UsageError(
            f"study {name} was compared with its own baseline ({asked}), not with the default:"
            " use --better-than baseline"
        )
    called = "the default" if asked == "default" else "its baseline"
    return check_of_study(rank(record), called)


def _check_settings(
    config: Path, baseline: Path, candidate: Path | None, tolerance: str, ray: str | None
) -> Check:
    from adamtune.analysis.gate import read_tolerance
    from adamtune.config import load_study
    from adamtune.config.settings_file import read_trained, trained_of_study

    study, allowed = load_study(config, on_ray(ray)), read_tolerance(tolerance)
    tried = read_trained(candidate, study) if candidate else trained_of_study(study, config)
    accepted = read_trained(baseline, study)

    with slow_imports():
        from adamtune.reports.checks import check_of_gate
        from adamtune.reports.console import console
        from adamtune.reports.live import progress_view
        from adamtune.search.gate import run_gate

    try:
        with progress_view(console(stderr=True)) as observe:
            gate = run_gate(study, tried, accepted, allowed, observe)
    except KeyboardInterrupt as error:
        typer.echo("Interrupted; nothing is kept. The same command begins anew.", err=True)
        raise typer.Exit(130) from error
    return check_of_gate(gate, tried, accepted, str(candidate or config))
