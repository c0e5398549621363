"""``adamtune init``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

FILES = {"task": "task.py", "function": "train.py", "command": "train.py"}
"""The name of the Python file that each form of a study begins with."""
OTHER = {"true", "false", "yes", "no", "on", "off", "null"}
"""Words that YAML takes for other values than text."""


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder, which is made if it is not there")
    ] = Path(),
    function: Annotated[bool, typer.Option("--function", help="A training loop of your own")] = False,
    command: Annotated[bool, typer.Option("--command", help="A program in any language")] = False,
) -> None:
    """Write a study file and a model to begin with, which run at once."""
    import shlex
    import sys
    from importlib.resources import files

    from adamtune.cli.options import program
    from adamtune.errors import Refused, UsageError

    if function and command:
        raise UsageError("--function and --command are two forms of a study: give one of them")
    form = "function" if function else "command" if command else "task"
    templates = files("adamtune.cli") / "templates"
    # A command finds the modules of this environment only if its own Python is started.
    study = (templates / f"{form}.yaml.txt").read_text("utf-8")
    texts = {
        folder / FILES[form]: (templates / f"{form}.py.txt").read_text("utf-8"),
        folder / "study.yaml": study.replace("{PYTHON}", shlex.quote(sys.executable)).replace(
            "{NAME}", _study_name(folder)
        ),
    }
    existing = [str(path) for path in texts if path.exists() or path.is_symlink()]
    if existing:
        raise Refused(f"{' and '.join(existing)}: already there, and left as it is. Give another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        path.write_text(text, "utf-8")
    typer.echo(f"Wrote {' and '.join(map(str, texts))}.")
    typer.echo(f"Next: {program()} search {folder / 'study.yaml'}")


def _study_name(folder: Path) -> str:
    """The folder's name as that of a study, so that the studies of two folders differ."""
    import re

    name = re.sub(r"[^A-Za-z0-9]+", "-", folder.resolve().name)[:80].strip("-")
    is_text = re.match(r"[A-Za-z]", name) and name.lower() not in OTHER
    return name if is_text else f"study-{name}".rstrip("-")
