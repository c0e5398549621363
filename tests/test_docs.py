"""The documentation is true: its commands run, its study files parse, its links lead somewhere."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer.main
import yaml

from adamtune.cli.main import app, run
from adamtune.config import parse_study
from adamtune.config.document import read_yaml
from adamtune.config.problems import Problems
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.schedules.registry import SCHEDULES
from adamtune.tasks.registry import TASKS

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.name}:{self.line}"


def read_blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[2])


BLOCKS = [block for page in PAGES for block in read_blocks(page)]


def blocks(*languages: str) -> list[Any]:
    return [pytest.param(each, id=each.place) for each in BLOCKS if each.language in languages]


def commands(block: Block) -> list[str]:
    """The commands of a block: every line of ``sh``, the lines after ``$`` of ``console``."""
    lines = block.text.splitlines()
    if block.language == "console":
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [line for line in lines if line and not line.startswith("#")]


def tiny(text: str) -> str:
    """A study file, cut down to a moment of training."""
    study: Any = read_yaml(text, Problems("config"))
    task = study["task"] if isinstance(study["task"], dict) else {"name": study["task"]}
    short = {"steps": 2} if task["name"] == "transformer" else {"epochs": 1}
    return json.dumps(study | {"task": task | short, "search": study["search"] | {"trials": 2}})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where documented commands run: small study files under their own names, and the quickstart done."""
    path = tmp_path_factory.mktemp("docs")
    (path / "configs").mkdir()
    for config in (ROOT / "configs").glob("*.yaml"):
        (path / "configs" / config.name).write_text(tiny(config.read_text()))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        assert run(["search", "configs/quickstart.yaml"]) == 0
    return path


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")
    return folder


def run_adamtune(arguments: list[str]) -> int:
    """Runs a documented command without the pipe or the file that its output goes to."""
    end = next((index for index, each in enumerate(arguments) if each in ("|", ">")), len(arguments))
    return run(arguments[:end])


def known(command: str) -> bool:
    """Whether a command that is not run here can be: its target or program is there."""
    program, *arguments = shlex.split(command, comments=True)
    if program == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return set(arguments) <= set(targets)
    if program == "python" and arguments[0] == "-m":
        return (ROOT / (arguments[1].replace(".", "/") + ".py")).is_file()
    if program == "python":
        return (ROOT / arguments[0]).is_file()
    return program == "pip"


@pytest.mark.parametrize("block", blocks("sh", "console"))
def test_commands_run(here: Path, block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    for command in commands(block):
        program, *arguments = shlex.split(command, comments=True)
        if program == "adamtune":
            code = run_adamtune(arguments)
            assert code == 0, f"{command}\n{capsys.readouterr().err}"
        else:
            assert known(command), command


def test_unknown_commands_are_found() -> None:
    assert not any(
        map(known, ("make nonsense", "python -m benchmarks.nonsense", "python docs/none.py", "rm x"))
    )
    assert run_adamtune(["report", "--nonsense"]) == 2


SPANS = re.compile(r"`(adamtune [^`]+)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_sentences_exist(page: Path) -> None:
    for command in SPANS.findall(page.read_text(encoding="utf-8")):
        _, name, *arguments = shlex.split(command.replace("[", "").replace("]", ""))
        if name.startswith("--"):
            arguments, name = [name], "adamtune"
        elif name != "COMMAND":
            assert name in COMMANDS, command
        options = {each for each in arguments if each.startswith("--")}
        owner = COMMANDS.get(name, typer.main.get_command(app))
        assert options <= {*option_names(owner), "--help"}, command


def option_names(command: Any) -> list[str]:
    return [name for each in command.params for name in each.opts if name.startswith("-")]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_documented(name: str) -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert section
    assert [option for option in option_names(COMMANDS[name]) if option not in section[1]] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_readme_names_every_command(name: str) -> None:
    assert f"| `adamtune {name}" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*OPTIMIZERS, *SCHEDULES, *TASKS])
def test_the_study_file_page_has_every_name(name: str) -> None:
    page = (ROOT / "docs" / "study-file.md").read_text(encoding="utf-8")
    assert re.search(rf"^###+ {name}$", page, re.MULTILINE)


REWRITTEN: Callable[[str], str] = runpy.run_path(str(ROOT / "docs" / "tables.py"))["rewritten"]


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_tables_are_up_to_date(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == REWRITTEN(text), "run: python docs/tables.py"


def test_stale_tables_are_found() -> None:
    stale = "a\n<!-- table: search -->\nold\n<!-- end -->\nb\n"
    fresh = REWRITTEN(stale)
    assert "old" not in fresh
    assert "| `search.trials` | `64` |" in fresh
    assert fresh.startswith("a\n")
    assert fresh.endswith("<!-- end -->\nb\n")


OWN_MODELS = ROOT / "docs" / "own-models.md"
EXAMPLES = ROOT / "examples"


@pytest.mark.parametrize("block", blocks("yaml"))
def test_study_files_parse(block: Block) -> None:
    parse_study(block.text, block.place, folder=EXAMPLES)


@pytest.mark.parametrize(
    "block", [each for each in blocks("yaml", "python") if each.values[0].page == OWN_MODELS]
)
def test_own_models_of_the_documentation_are_text_of_the_examples(block: Block) -> None:
    """The examples themselves have tests."""
    assert any(each.read_text().endswith("\n" + block.text) for each in EXAMPLES.glob("*.*"))


@pytest.mark.parametrize("block", blocks("yml"))
def test_workflows_run_commands_that_exist(block: Block) -> None:
    workflow = yaml.safe_load(block.text)
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert all("run" in step or "uses" in step for step in steps)
    called = [step["run"].split() for step in steps if step.get("run", "").startswith("adamtune ")]
    assert called
    for _, name, *arguments in called:
        assert {each for each in arguments if each.startswith("--")} <= {*option_names(COMMANDS[name])}


@pytest.mark.parametrize("study", [each for each in blocks("yaml") if "data: " in each.values[0].text])
def test_own_data_of_the_documentation_is_searched(study: Block, tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "churn.csv", tmp_path)
    (tmp_path / "study.yaml").write_text(study.text)
    storage = str(tmp_path / "studies.db")
    assert run(["search", str(tmp_path / "study.yaml"), "--storage", storage, "--trials", "2"]) == 0


@pytest.mark.parametrize("block", blocks("json"))
def test_json_parses(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", blocks("python"))
def test_python_runs(here: Path, block: Block) -> None:
    exec(compile(block.text, block.place, "exec"), {})


def shape(line: str) -> str:
    """What stays the same of a line of output when its numbers and curves differ."""
    return " ".join(re.sub(r"[-+.:\d]+(e-?\d+)?", "0", re.sub("[▁-█]+", "~", line)).split())


def test_the_quickstart_in_the_readme_is_what_it_prints(
    here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Line by line, but for numbers; the rows depend on the machine, and must have the table's columns."""
    monkeypatch.chdir(tmp_path)
    (transcript,) = (
        block.text for block in BLOCKS if block.text.startswith("$ adamtune search configs/quick")
    )
    capsys.readouterr()
    assert run(["search", str(ROOT / "configs" / "quickstart.yaml")]) == 0
    printed = [shape(line) for line in capsys.readouterr().out.splitlines()]
    shown = [shape(line) for line in transcript.splitlines()[1:] if line not in ("", "...")]
    rows = [line for line in shown if line.endswith("~")]
    assert {len(line.split()) for line in rows} == {9}
    assert [line for line in shown if line not in rows and line not in printed] == []


def links(page: Path) -> list[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [each for each in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in each]


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
