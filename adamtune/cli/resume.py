"""``adamtune resume``."""

from __future__ import annotations

from typing import Annotated

import typer

from adamtune.cli.options import STORAGE, Storage, Study, Timeout, Trials, given, slow_imports


def resume(
    study: Study,
    trials: Trials = None,
    timeout: Timeout = None,
    abandon: Annotated[
        bool,
        typer.Option(
            "--abandon", help="Give up the trials in training, if their checkpoint is lost; train others."
        ),
    ] = False,
    storage: Storage = STORAGE,
) -> None:
    """Go on with a study from what the storage knows, without its file."""
    from adamtune.storage.local.lock import check_free

    check_free(storage, study)

    with slow_imports():
        from adamtune.cli.result import follow
        from adamtune.search.run import resume as go_on

    overrides = given({"search.trials": trials, "search.timeout": timeout})
    follow(lambda observe: go_on(storage, study, overrides, observe, abandon), storage, study)
