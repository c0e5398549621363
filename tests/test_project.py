"""What makes the checkout a project: versions, pins, study files, the wheel, no trace of a machine."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement

from adamtune import __version__

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


def files() -> list[Path]:
    """What git keeps, or would: everything that it does not ignore."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def texts() -> dict[str, str]:
    return {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for path in files()
        if b"\0" not in path.read_bytes()
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")))
    return zipfile.ZipFile(built)


def test_one_version(wheel: zipfile.ZipFile) -> None:
    newest = re.search(r"^## \[(\d.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    assert newest[1] == __version__
    assert PROJECT["dynamic"] == ["version"]
    assert "version" not in PROJECT
    assert Path(wheel.filename or "").name.startswith(f"adamtune-{__version__}-py3-none-any")


@pytest.mark.parametrize(
    "name", ["py.typed", "engines/native/update.c", "engines/native/kernels.c", "__main__.py"]
)
def test_the_wheel_has(wheel: zipfile.ZipFile, name: str) -> None:
    assert f"adamtune/{name}" in wheel.namelist()


def test_the_wheel_has_every_module_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == {
        name
        for name in map(str, (each.relative_to(ROOT) for each in files()))
        if name.startswith("adamtune/")
    }


REQUIREMENTS = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]


@pytest.mark.parametrize("written", REQUIREMENTS)
def test_every_dependency_is_pinned_to_a_version_that_fits(written: str) -> None:
    pins = dict(line.lower().split("==") for line in (ROOT / "constraints.txt").read_text().split())
    requirement = Requirement(written)
    assert requirement.specifier.contains(pins[requirement.name.lower()])


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_study_files_name_their_schema_and_their_command(path: Path) -> None:
    first, second, *_ = path.read_text().splitlines()
    assert first == "# yaml-language-server: $schema=study.schema.json"
    assert second == f"# Run: adamtune search configs/{path.name}"


def test_the_workflow_runs_what_a_user_can() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    steps = [step.get("run") for step in workflow["jobs"]["check"]["steps"]]
    assert ".ci/run" in steps
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


# The patterns do not match themselves.
OF_SOME_MACHINE = re.compile(r"(?<![\w.:$}~/-])/(?:root|home|Users|work|mnt)/(?!\.\.\.)\w", re.IGNORECASE)
NUMBERED = re.compile(r"\b(?:issue|ticket|session|helper)s? (?:#|no\. ?)?\d", re.IGNORECASE)


def test_no_text_depends_on_where_it_was_written() -> None:
    found = [
        f"{name}: {match[0]}"
        for name, text in texts().items()
        for pattern in (OF_SOME_MACHINE, NUMBERED)
        for match in pattern.finditer(text)
    ]
    assert not found


def test_patterns_find_what_they_are_for() -> None:
    assert OF_SOME_MACHINE.search("see " + "/".join(["", "home", "me", "x.py"]))
    assert NUMBERED.search(" ".join(["as", "issue", "7", "says"]))


def test_pages_that_are_named_are_there() -> None:
    there = {path.name for path in files()}
    named = {
        (name, page)
        for name, text in texts().items()
        for page in re.findall(r"(?<![\w*{])[A-Za-z][\w-]*\.md\b", text)
        if page not in there
    }
    assert not named


OPTION = re.compile(r"--(?:name|storage|trials|timeout|seed|confirm|no-confirm|workers|ray|debug)\b")
"""Options of the commands that Python has as arguments, or has not."""


def test_messages_are_for_the_command_line_and_for_python() -> None:
    """Below the commands, no text but a docstring has an option, unless in a command in backticks."""
    found = [
        (str(path.relative_to(ROOT)), text.value)
        for path in sorted((ROOT / "adamtune").rglob("*.py"))
        if path.parent.name != "cli"
        for text in _texts_of(ast.parse(path.read_text(encoding="utf-8")))
        if OPTION.search(re.sub("`[^`]*(?:`|$)", "", text.value))
    ]
    assert not found


def _texts_of(module: ast.Module) -> Iterator[ast.Constant]:
    """The texts of a module, without docstrings."""
    statements = {id(each.value) for each in ast.walk(module) if isinstance(each, ast.Expr)}
    for each in ast.walk(module):
        if isinstance(each, ast.Constant) and isinstance(each.value, str) and id(each) not in statements:
            yield each
