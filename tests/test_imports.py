"""Who may import whom: docs/architecture.md says it, and the import statements are read for it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import adamtune

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "optuna")


class Import(NamedTuple):
    """``module`` imports ``target``: a module of adamtune where it is one, else as written."""

    module: str
    target: str
    line: int
    for_types: bool

    @property
    def text(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted((ROOT / "adamtune").rglob("*.py"))}


def read_imports(module: str, source: str) -> Iterator[Import]:
    """Every import, in functions too; those under TYPE_CHECKING are ``for_types``."""
    tree = ast.parse(source)
    guarded = [
        node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
    ]
    for_types = {id(each) for guard in guarded for node in guard.body for each in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: write imports in full"
            written = [f"{node.module}.{each.name}" for each in node.names]
            targets = [each if each in MODULES else str(node.module) for each in written]
        else:
            continue
        yield from (Import(module, each, node.lineno, id(node) in for_types) for each in targets)


@cache
def imports() -> list[Import]:
    """Those of all modules."""
    return [each for name, path in MODULES.items() for each in read_imports(name, path.read_text())]


def package(module: str) -> str:
    """The package (or single module) of adamtune that a module belongs to; empty for adamtune itself."""
    return module.split(".")[1] if "." in module else ""


def levels() -> dict[str, int]:
    """How high each package stands, from the line in docs/architecture.md."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    found = re.search(r"^    (cli > .*)$", page, re.MULTILINE)
    assert found
    layers = [layer.split(", ") for layer in found[1].split(" > ")]
    return {name: -depth for depth, layer in enumerate(layers) for name in layer}


LEVELS = levels()
OUTSIDE = {"", "__main__"}
"""adamtune itself, a facade that may name anything, and what starts the command line."""


def test_every_package_has_its_level() -> None:
    assert {package(name) for name in MODULES} - OUTSIDE == LEVELS.keys()


def test_imports_go_downwards() -> None:
    wrong = [
        each.text
        for each in imports()
        if each.target in MODULES
        and not {package(each.module), package(each.target)} & OUTSIDE
        and package(each.module) != package(each.target)
        and LEVELS[package(each.module)] <= LEVELS[package(each.target)]
    ]
    assert not wrong


def test_engines_get_plain_values() -> None:
    """They stand above config, and still see nothing of it."""
    wrong = [
        each.text
        for each in imports()
        if (package(each.module), package(each.target)) == ("engines", "config")
    ]
    assert not wrong


def test_nobody_imports_the_facade_but_for_its_version() -> None:
    users = {each.module for each in imports() if each.target == "adamtune"}
    assert users <= {"adamtune.cli.main", "adamtune.storage.open_session"}


KNOWN_BY = {
    "altair": {"api", "reports"},
    "mlflow": {"exports"},
    "optuna": {"api", "search", "storage"},
    "pandas": {"analysis", "api", "reports", "tasks"},
    "rich": {"cli", "reports"},
    "scipy": {"analysis"},
    "sqlalchemy": {"storage"},
    "tensorboard": {"exports"},
    "torch": {"engines", "function", "optimizers", "schedules", "search", "storage", "tasks"},
    "typer": {"cli"},
    "wandb": {"exports"},
    "yaml": {"config"},
}


@pytest.mark.parametrize("library", KNOWN_BY)
def test_a_library_is_known_by_few(library: str) -> None:
    users = [each for each in imports() if each.target.split(".")[0] == library]
    assert {package(each.module) for each in users} - OUTSIDE == KNOWN_BY[library], [
        each.text for each in users
    ]


def test_there_is_no_cycle() -> None:
    """What is imported for types alone never runs; packages' own ``__init__`` counts where it is named."""
    graph: dict[str, set[str]] = {name: set() for name in MODULES}
    for each in imports():
        if each.target in MODULES and each.target != "adamtune" and not each.for_types:
            graph[each.module].add(each.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_reader_sees_what_is_hidden() -> None:
    source = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import optuna\n"
        "def body():\n    from adamtune.cli import main\n    import torch.nn\n"
    )
    found = [(each.target, each.for_types) for each in read_imports("adamtune.x", source)]
    assert sorted(found) == [
        ("adamtune.cli.main", False),
        ("optuna", True),
        ("torch.nn", False),
        ("typing", False),
    ]


def test_scipy_is_loaded_where_it_is_called() -> None:
    """It takes longer to import than a report to make."""
    modules = [name for name in MODULES if name.startswith("adamtune.analysis.") and "frames" not in name]
    code = f"import sys, {', '.join(modules)}; print('scipy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")


def test_packages_load_nothing_heavy() -> None:
    packages = sorted(name for name, path in MODULES.items() if path.name == "__init__.py")
    code = f"import sys, {', '.join(packages)}; print([each for each in {HEAVY} if each in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def test_few_public_names() -> None:
    assert len(adamtune.__all__) <= 10
    assert adamtune.__all__ == sorted(adamtune.__all__)
    assert all(hasattr(adamtune, name) for name in adamtune.__all__)
