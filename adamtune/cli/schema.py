"""``adamtune schema``."""

from __future__ import annotations

import json

import typer


def schema() -> None:
    """Print the JSON Schema of study files, for editors."""
    from adamtune.config import schema as study_schema

    typer.echo(json.dumps(study_schema(), indent=2))
