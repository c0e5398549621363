"""``adamtune search``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adamtune.cli.live_page import live_page
from adamtune.cli.log_to import log_to
from adamtune.cli.options import (
    Confirm,
    LogTo,
    NoConfirm,
    Ray,
    Report,
    Timeout,
    Trials,
    confirmation,
    given,
    on_ray,
    slow_imports,
)


def search(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="Study file (YAML)")],
    *,
    trials: Trials = None,
    timeout: Timeout = None,
    seed: Annotated[
        str | None, typer.Option("--seed", metavar="N", help="Random seed; overrides the study file")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage",
            metavar="FILE|URL",
            help="Database file or URL; overrides the study file",
        ),
    ] = None,
    confirm: Confirm = None,
    no_confirm: NoConfirm = False,
    ray: Ray = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of the study; overrides the study file")
    ] = None,
    to: LogTo = None,
    report: Report = None,
) -> None:
    """Run the search that a study file describes, or resume it.

    The same command resumes an interrupted search. With a larger --trials it extends a complete one.
    """
    from adamtune.config import load_study
    from adamtune.storage.local.lock import check_free

    overrides = {
        "search.trials": trials,
        "search.timeout": timeout,
        "search.seed": seed,
        "storage": storage,
        "name": name,
    }
    study = load_study(config, given(overrides) | on_ray(ray) | confirmation(confirm, no_confirm))
    # Before the imports: a study in use is refused in a tenth of a second instead of two.
    check_free(study.storage, study.name)

    with (
        log_to(to or (), study.storage, study.name) as with_exports,
        live_page(report, study.storage, study.name) as with_page,
    ):
        with slow_imports():
            from adamtune.cli.result import follow
            from adamtune.search.run import run

        start = with_exports(lambda observe: run(study, with_page(observe)))
        follow(start, study.storage, study.name)
