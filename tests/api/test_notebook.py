"""Notebooks: the example runs, shows its study, and resumes; an interruption keeps the study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adamtune.cli.main import run
from adamtune.reports import notebook
from adamtune.search.progress import Progress

nbformat = pytest.importorskip("nbformat", reason="needs `pip install nbclient ipykernel`")
nbclient = pytest.importorskip("nbclient", reason="needs `pip install nbclient ipykernel`")
pytest.importorskip("ipykernel", reason="needs `pip install nbclient ipykernel`")

EXAMPLE = Path(__file__).parents[2] / "examples" / "tune.ipynb"

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the client


def executed(folder: Path, *cells: str, allow_errors: bool = False) -> list[list[Any]]:
    """The outputs of each code cell, run in a kernel of its own in a folder."""
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(each) for each in cells])
    nbclient.NotebookClient(
        made, timeout=300, allow_errors=allow_errors, resources={"metadata": {"path": str(folder)}}
    ).execute()
    return [each.outputs for each in made.cells]


def example() -> list[str]:
    return [each.source for each in nbformat.read(EXAMPLE, 4).cells if each.cell_type == "code"]


def kinds(outputs: list[Any]) -> list[str]:
    return [each.output_type for each in outputs]


@pytest.mark.slow
def test_the_example_runs(tmp_path: Path) -> None:
    defined, searched, said, table, slices, code, more, optuna = executed(tmp_path, *example())
    assert defined == []
    progress, shown = searched
    assert "Confirmation" in progress.data["text/plain"]
    assert "<table>" in shown.data["text/html"]
    assert shown.data["text/plain"].startswith("<Study tumours in runs/adamtune.db: 24 complete; best")
    assert "fresh seeds" in said[0].text
    assert "is_baseline=" in said[1].data["text/plain"]
    assert "<table" in table[0].data["text/html"]
    assert "vega" in slices[0].data["text/html"]
    compile(code[0].text, "code", "exec")
    assert "'complete': 32" in more[-1].data["text/plain"]
    assert optuna[0].data["text/plain"].isdigit()


def test_it_is_kept_without_outputs() -> None:
    for cell in nbformat.read(EXAMPLE, 4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.slow
def test_the_cells_return_a_complete_study_and_refuse_it_when_the_class_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    defined, searched, *_ = example()
    executed(tmp_path, defined, searched)
    again = executed(tmp_path, defined, searched)[1]
    assert "24 complete" in again[-1].data["text/plain"]
    assert not any(each.get("name") == "stderr" for each in again)
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        assert run(["report", "tumours"]) == 0
    changed = defined.replace("nn.ReLU()", "nn.Tanh()")
    assert changed != defined
    (error,) = (
        each
        for each in executed(tmp_path, changed, searched, allow_errors=True)[1]
        if each.output_type == "error"
    )
    assert error.ename == "Refused"
    assert "trained with other code: Tumours" in error.evalue


INTERRUPTED = """
import os, signal, threading, time, adamtune

def interrupt():
    while True:
        try:
            if adamtune.load("long").counts["complete"]:
                break
        except adamtune.errors.AdamtuneError:
            pass
        time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt).start()
adamtune.search({"name": "long", "task": {"name": "mlp", "hidden": [4]}, "search": {"trials": 100_000}})
"""


@pytest.mark.slow
def test_an_interrupted_cell_keeps_the_study(tmp_path: Path) -> None:
    after = 'print(adamtune.load("long").counts["complete"] > 0)'
    stopped, done = executed(tmp_path, INTERRUPTED, after, allow_errors=True)
    assert (stopped[-1].output_type, stopped[-1].ename) == ("error", "KeyboardInterrupt")
    assert "study long is saved with" in stopped[-1].evalue
    assert done[0].text == "True\n"


class Handle:
    """Stands for IPython's handle of a display."""

    def __init__(self, first: dict[str, str]) -> None:
        self.shown = [first]

    def update(self, bundle: dict[str, str], raw: bool) -> None:
        assert raw
        self.shown.append(bundle)


@pytest.fixture
def displays(monkeypatch: pytest.MonkeyPatch) -> list[Handle]:
    import IPython.display

    made: list[Handle] = []

    def display(bundle: dict[str, str], raw: bool, display_id: bool) -> Handle:
        made.append(Handle(bundle))
        return made[-1]

    monkeypatch.setattr(IPython.display, "display", display)
    return made


def progress(done: int, name: str = "s") -> Progress:
    return Progress(name, "val_loss", "minimize", 9, {"complete": done}, 1.0, done)


def test_one_display_is_updated_and_ends_with_the_last_progress(
    displays: list[Handle], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(notebook.time, "monotonic", lambda: now[0])
    with notebook.notebook_view() as observe:
        for done in range(1, 6):
            observe(progress(done))
            now[0] += 0.2
    (handle,) = displays
    found = [each["text/plain"].split("/9")[0].split()[-1:] for each in handle.shown]
    assert found == [[], ["1"], ["4"], ["5"]]


def test_the_progress_is_escaped(displays: list[Handle]) -> None:
    with notebook.notebook_view() as observe:
        observe(progress(1, "<b>"))
    assert "<b>" not in displays[0].shown[-1]["text/html"]
    assert "&lt;b&gt;" in displays[0].shown[-1]["text/html"]
