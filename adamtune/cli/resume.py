"""``adamtune resume``."""

from __future__ import annotations

from typing import Annotated

import typer

from adamtune.cli.live_page import live_page
from adamtune.cli.log_to import log_to
from adamtune.cli.options import (
    STORAGE,
    Confirm,
    LogTo,
    NoConfirm,
    Ray,
    Report,
    Storage,
    Study,
    Timeout,
    Trials,
    confirmation,
    given,
    on_ray,
    slow_imports,
)


def resume(
    study: Study,
    trials: Trials = None,
    timeout: Timeout = None,
    confirm: Confirm = None,
    no_confirm: NoConfirm = False,
    abandon: Annotated[
        bool,
        typer.Option(
            "--abandon", help="Discard in-progress trials whose checkpoint is missing and run replacements"
        ),
    ] = False,
    ray: Ray = None,
    to: LogTo = None,
    report: Report = None,
    storage: Storage = STORAGE,
) -> None:
    """Resume a study from the database (no study file needed)."""
    from adamtune.storage.local.lock import check_free

    check_free(storage, study)

    overrides = given({"search.trials": trials, "search.timeout": timeout})
    overrides |= on_ray(ray) | confirmation(confirm, no_confirm)
    with log_to(to or (), storage, study) as with_exports, live_page(report, storage, study) as with_page:
        with slow_imports():
            from adamtune.cli.result import follow
            from adamtune.search.run import resume as continue_study

        start = with_exports(
            lambda observe: continue_study(storage, study, overrides, with_page(observe), abandon)
        )
        follow(start, storage, study)
