"""Help, exit codes, errors, and the shell."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer.main

import adamtune as adamtune_package
from adamtune import __version__
from adamtune.cli.main import app, run
from adamtune.cli.options import STORAGE
from adamtune.config import StudyConfig
from adamtune.errors import AdamtuneError, Refused, StudyFileError
from adamtune.storage.local.lock import study_lock

from .conftest import Ended

Adamtune = Callable[..., Ended]

COMMANDS = (
    "init",
    "search",
    "resume",
    "report",
    "export",
    "check",
    "studies",
    "tasks",
    "validate",
    "schema",
    "delete",
)


def parameters() -> Iterator[tuple[str, object]]:
    group = typer.main.get_command(app)
    for name, command in {"adamtune": group, **group.commands}.items():  # type: ignore[attr-defined]
        for parameter in command.params:
            yield f"{name} {parameter.name}", parameter


def process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        encoding="utf-8",
        check=False,
    )


def test_the_commands() -> None:
    group = typer.main.get_command(app)
    assert tuple(group.commands) == COMMANDS  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(adamtune: Adamtune, command: str) -> None:
    for option in ("--help", "-h"):
        code, out, err = adamtune(command, option)
        assert (code, err) == (0, "")
        assert f"Usage: adamtune {command}" in out


@pytest.mark.parametrize(("name", "parameter"), [*parameters()])
def test_every_option_has_help(name: str, parameter: object) -> None:
    assert getattr(parameter, "help", None), name


def test_help_names_every_command(adamtune: Adamtune) -> None:
    for arguments in (["--help"], []):
        ended = adamtune(*arguments)
        assert all(f" {command} " in ended.out + ended.err for command in COMMANDS)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_80_columns_and_shows_no_types_of_flags(adamtune: Adamtune, command: str) -> None:
    help = adamtune(*filter(None, [command]), "--help").out
    assert max(map(len, help.splitlines())) <= 80
    assert "bool" not in help.lower()
    assert "..." not in help.replace("[ARGS]...", "")  # no summary of a command is cut


def test_study_file_in_the_help_runs(adamtune: Adamtune, tmp_path: Path) -> None:
    """The help of an installed program needs no file of the repository."""
    help = adamtune("--help").out
    (found,) = re.findall(r"study\.yaml:\n\n(.*?)\n\n", help, re.DOTALL)
    file = tmp_path / "study.yaml"
    file.write_text(textwrap.dedent(found))
    assert len(file.read_text().splitlines()) == 5
    assert "search study.yaml" in help
    storage = tmp_path / "studies.db"
    ended = adamtune("search", file, "--trials", 2, "--storage", storage)
    assert ended.out.startswith("2/2 trials done in ")


def test_no_message_names_a_file_that_only_the_repository_has() -> None:
    sources = Path(adamtune_package.__file__).parent.rglob("*.py")
    assert [each.name for each in sources if "configs/" in each.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize("place", ["on PATH", "elsewhere", "shadowed"])
def test_hints_are_commands_that_work(place: str, storage: Path, tmp_path: Path) -> None:
    """Started as ``.venv/bin/adamtune``, which PATH finds or not, or finds another of that name."""
    folder, other = tmp_path / ".venv" / "bin", tmp_path / "other"
    for each in (folder, other):
        each.mkdir(parents=True)
        script = each / "adamtune"
        script.write_text(f"#!{sys.executable}\nfrom adamtune.cli.main import main\nmain()\n")
        script.chmod(0o755)
    path = {"on PATH": [folder, other], "elsewhere": [], "shadowed": [other, folder]}[place]
    environment = os.environ | {"PATH": os.pathsep.join([*map(str, path), "/usr/bin", "/bin"])}
    ended = subprocess.run(
        [".venv/bin/adamtune", "report", "--storage", str(storage)],
        cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    hint = ended.stdout.splitlines()[-1].removeprefix("as JSON:").strip()
    program = "adamtune" if place == "on PATH" else ".venv/bin/adamtune"
    assert hint == f"{program} report digits-cnn --format json --storage {storage}"
    again = subprocess.run(hint, shell=True, cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert json.loads(again.stdout)["study"] == "digits-cnn"


def test_hints_of_a_module_that_was_run(storage: Path) -> None:
    ended = process("-m", "adamtune", "report", "--storage", str(storage))
    assert f" {sys.executable} -m adamtune report digits-cnn " in ended.stdout


def test_version(adamtune: Adamtune) -> None:
    assert adamtune("--version") == (0, f"adamtune {__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["search"], ["report", "--top", "0"], ["report", "--format", "xml"], ["--nonsense"]],
)
def test_wrong_command_lines(adamtune: Adamtune, arguments: list[str]) -> None:
    code, out, err = adamtune(*arguments)
    assert (code, out) == (2, "")
    assert "Usage: adamtune" in err


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr("adamtune.config.schema", fail)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (AdamtuneError("the disk is full"), 1, "the disk is full\n"),
        (Refused("in use by process 7"), 3, "in use by process 7\n"),
        (StudyFileError(["a.yaml:1: x", "a.yaml:2: y"]), 2, "a.yaml:1: x\na.yaml:2: y\n"),
        (
            ValueError("low\nhigh"),
            1,
            "adamtune failed: ValueError: low (run again with --debug to see where)\n",
        ),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_become_exit_codes(
    adamtune: Adamtune, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, message: str
) -> None:
    failing(monkeypatch, error)
    assert adamtune("schema") == (code, "", message)


@pytest.mark.parametrize("arguments", [["--debug", "schema"], ["schema", "--debug"]])
def test_traceback_with_debug_alone(
    adamtune: Adamtune, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    failing(monkeypatch, Refused("in use"))
    code, out, err = adamtune(*arguments)
    assert (code, out) == (3, "")
    assert err.startswith("Traceback (most recent call last):\n")
    assert err.endswith("in use\n")


def test_interrupt_before_a_command_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("adamtune.cli.main.app", interrupt)
    assert run(["schema"]) == 130


def test_default_storage_is_the_study_files() -> None:
    assert StudyConfig.model_fields["storage"].default == STORAGE


def test_module_and_reader_that_leaves() -> None:
    """``adamtune schema | head -0``: no traceback, and no complaint at exit."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        ended = subprocess.run(
            [sys.executable, "-m", "adamtune", "schema"],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (1, "")


def test_completion_of_study_names(storage: Path) -> None:
    for location, names in ((storage, ["digits-cnn"]), (storage.with_name("none.db"), [])):
        ended = process(
            "-m",
            "adamtune",
            _ADAMTUNE_COMPLETE="complete_bash",
            COMP_WORDS=f"adamtune report --storage {location} d",
            COMP_CWORD="4",
        )
        assert (ended.returncode, ended.stdout.split(), ended.stderr) == (0, names, "")


def test_ascii_terminals_get_the_table_too(storage: Path) -> None:
    ended = process("-m", "adamtune", "report", "--storage", str(storage), PYTHONIOENCODING="ascii")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "0.05610" in ended.stdout
    assert "curve: val_loss from _ 0.0996 to # " in ended.stdout
    assert ended.stdout.isascii()
    assert "\x1b" not in ended.stdout


HEAVY = ("torch", "optuna", "pandas", "sklearn", "sqlalchemy")
LOADED = """
import sys
from adamtune.cli.main import run
code = run(sys.argv[2:])
loaded = [name for name in sys.argv[1].split(",") if name in sys.modules]
sys.exit(f"loaded {loaded}" if loaded else code)
"""


@pytest.mark.parametrize(
    ("arguments", "light"),
    [
        (["--help"], (*HEAVY, "pydantic", "yaml", "rich")),
        (["--version"], (*HEAVY, "pydantic", "yaml", "rich")),
        (["validate", "STUDY"], (*HEAVY, "rich")),
        (["schema"], (*HEAVY, "rich")),
        (["tasks"], (*HEAVY, "rich")),
        (["report", "--storage", "STORAGE"], HEAVY),
        (["report", "--storage", "STORAGE", "--format", "json"], (*HEAVY, "rich")),
        (["studies", "--storage", "STORAGE"], HEAVY),
    ],
)
def test_heavy_imports_stay_out(storage: Path, arguments: list[str], light: tuple[str, ...]) -> None:
    study = storage.with_name("study.yaml")
    study.write_text("name: x\ntask: mlp\n")
    places = {"STUDY": str(study), "STORAGE": str(storage)}
    ended = process("-c", LOADED, ",".join(light), *(places.get(each, each) for each in arguments))
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("command", [["search", "STUDY"], ["resume", "x"]])
def test_a_study_in_use_is_refused_before_the_heavy_imports(storage: Path, command: list[str]) -> None:
    study = storage.with_name("study.yaml")
    study.write_text("name: x\ntask: mlp\n")
    arguments = [str(study) if each == "STUDY" else each for each in command]
    with study_lock(str(storage), "x"):
        ended = process("-c", LOADED, ",".join(HEAVY), *arguments, "--storage", str(storage))
    assert ended.returncode == 3, ended.stderr
    assert f"in use by process {os.getpid()}" in ended.stderr
