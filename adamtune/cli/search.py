"""``adamtune search``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adamtune.cli.options import Timeout, Trials, given, slow_imports


def search(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The study file (YAML).")],
    *,
    trials: Trials = None,
    timeout: Timeout = None,
    seed: Annotated[
        str | None, typer.Option("--seed", metavar="N", help="The study's seed, instead of the file's.")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option("--storage", metavar="FILE|URL", help="Where to keep the study, instead of the file's."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="The study's name, instead of the file's.")
    ] = None,
) -> None:
    """Tune what a study file asks for.

    The same command again resumes an interrupted study, and goes on to a raised number of trials.
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
    study = load_study(config, given(overrides))
    check_free(study.storage, study.name)

    with slow_imports():
        from adamtune.cli.result import follow
        from adamtune.search.run import run

    follow(lambda observe: run(study, observe), study.storage, study.name)
