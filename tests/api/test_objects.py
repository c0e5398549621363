"""Tasks given as Python objects: trained as those of files are, and guarded by the hash of their code."""

from __future__ import annotations

import linecache
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

import adamtune
from adamtune.errors import Refused, UsageError
from adamtune.tasks.mlp import Mlp
from adamtune.tasks.object_hash import object_hash
from adamtune.tasks.objects import ObjectEntry, given_task

from .. import user_tasks
from .test_search import LR, folder, quiet, same

__all__ = ["folder"]

CELL = '''
import torch
import torch.nn.functional as F
from torch import nn
from adamtune import Data, Task

SCALE = 2.0

def scaled(inputs):
    """Used by another function."""
    return inputs * SCALE

class Net(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, hidden), nn.ReLU(), nn.Linear(hidden, 2))

    def forward(self, inputs):
        return self.layers(scaled(inputs))

class Base(Task):
    hidden: int = 4
    batch_size: int = 16
    epochs: int = 2

    def data(self) -> Data:
        inputs = torch.randn(80, 3, generator=torch.Generator().manual_seed(0))
        return Data.split(inputs, (inputs.sum(1) > 0).long(), validation=0.25, test=0.25)

    def loss(self, model, batch):
        inputs, target = batch
        return F.cross_entropy(model(inputs), target)

class Churn(Base):
    """Which customers leave."""

    def model(self):
        return Net(self.hidden)  # a comment
'''


def cell(*changes: tuple[str, str], keep: bool = True) -> Any:
    """``Churn`` of a cell of a notebook: a module without a file, whose source only ``linecache`` knows."""
    source = CELL
    for old, new in changes:
        assert old in source, old
        source = source.replace(old, new)
    name = f"<cell {hash(source)}>"
    if keep:
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, name, "exec"), scope)
    return scope["Churn"]


def study(task: Any = None, **changed: Any) -> dict[str, Any]:
    search = {"trials": 3, "sampler": "qmc", "confirm": "off"}
    given = {} if task is None else {"task": task}
    return {"name": "s", "space": {"lr": LR}, "search": search} | given | changed


def test_a_class_is_trained_as_a_file_of_the_same_text_is(folder: Path) -> None:
    (folder / "churn.py").write_text(CELL)
    found = quiet(study(), task=cell())
    assert found.ranking.study.study["task"] == {  # type: ignore[index]
        "name": "__main__:Churn",
        "settings": {"hidden": 4, "batch_size": 16, "epochs": 2},
    }
    same(found, quiet(study("churn.py:Churn", name="file")))
    assert "lockstep" not in str(found.ranking.study.study_file)


def test_it_is_trained_in_lockstep() -> None:
    assert quiet(study(cell())).to_optuna().user_attrs["plan"]["engine"] == "population"


@pytest.mark.parametrize("form", ["task", "name", "object", "keyword", "file"])
def test_it_may_be_given_where_a_study_names_its_task(form: str, folder: Path) -> None:
    (folder / "study.yaml").write_text(
        "name: s\ntask: {name: mlp, hidden: 5}\nspace: {lr: [0.01]}\nsearch: {trials: 1, confirm: off}\n"
    )
    own = cell()
    found = {
        "task": lambda: quiet(study(own)),
        "name": lambda: quiet(study({"name": own, "hidden": 5})),
        "object": lambda: quiet(study(), task=own(hidden=5)),
        "keyword": lambda: quiet(study({"hidden": 5}), task=own),
        "file": lambda: quiet("study.yaml", task=own),
    }[form]()
    task = found.ranking.study.study["task"]  # type: ignore[index]
    assert task["name"] == "__main__:Churn"
    assert task["settings"]["hidden"] == (4 if form == "task" else 5)


def test_settings_of_an_object_that_were_not_given_can_be_searched() -> None:
    space = {"lr": LR, "task": {"hidden": [2, 4]}}
    found = quiet(study(space=space), task=cell()(epochs=3))
    assert set(found.trials["hidden"]) == {2, 4}
    assert set(found.trials["steps"]) == {6}


def test_the_same_cell_continues_the_study_and_another_is_refused() -> None:
    quiet(study(cell()))
    assert len(quiet(study(cell()), trials=4).trials) == 4
    layout = ("# a comment", "# another"), ('"""Used by another function."""', '"""Of a net."""')
    assert len(quiet(study(cell(*layout)), trials=5).trials) == 5
    with pytest.raises(Refused, match="other code: Churn, or something that it uses, has changed"):
        quiet(study(cell(("SCALE = 2.0", "SCALE = 3.0"))))
    with pytest.raises(Refused, match="the source of Churn is not known here"):
        quiet(study(cell(("epochs: int = 2", "epochs: int = 2 "), keep=False)))


CHANGES = {
    "a method": ("return Net(self.hidden)", "return Net(self.hidden + 1)"),
    "a method of a base": ("(inputs.sum(1) > 0)", "(inputs.sum(1) > 1)"),
    "a class that it uses": ("nn.ReLU()", "nn.Tanh()"),
    "a function": ("inputs * SCALE", "inputs + SCALE"),
    "a value": ("SCALE = 2.0", "SCALE = 2.5"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_a_class_uses_is_part_of_its_hash(change: tuple[str, str]) -> None:
    assert object_hash(cell()) == object_hash(cell(("import torch\n", "import torch\n\n\n")))
    assert object_hash(cell(change)) not in (None, object_hash(cell()))


def test_a_file_that_it_imports_is_part_of_its_hash(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(folder)
    imports = ("SCALE = 2.0", "import own_scale"), ("inputs * SCALE", "inputs * own_scale.SCALE")
    hashes = set()
    for text in ("SCALE = 2.0", "SCALE = 2.0  # comment", "SCALE = 3.0"):
        (folder / "own_scale.py").write_text(text)
        hashes.add(object_hash(cell(*imports)))
    assert len(hashes) == 2
    del sys.modules["own_scale"]


def test_a_class_without_source_is_trained_without_a_guard() -> None:
    own = cell(("SCALE = 2.0", "SCALE = 4.0"), keep=False)
    assert object_hash(own) is None
    assert quiet(study(own)).ranking.study.code_hash is None
    assert len(quiet(study(own), trials=4).trials) == 4


def test_a_class_of_a_file_is_the_task_of_that_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(folder)
    user_tasks.write_task(folder, name="given_churn.py")
    from given_churn import Churn  # type: ignore[import-not-found]

    found = given_task(Churn(hidden=8))
    assert (found.entry.name, found.settings) == (f"{folder / 'given_churn.py'}:Churn", {"hidden": 8})
    same(quiet(study(Churn)), quiet(study("given_churn.py:Churn", name="file")))
    for each in ("given_churn", "helper"):
        sys.modules.pop(each, None)


def test_a_class_of_a_package_and_a_task_of_ours_have_their_names() -> None:
    assert given_task(Mlp).entry.name == "mlp"
    assert given_task(Mlp(hidden=(4,))).settings == {"hidden": [4]}
    from .test_search import Drawing

    assert given_task(Drawing).entry.name == f"{Drawing.__module__}:Drawing"


def test_a_class_in_a_function_is_an_object() -> None:
    class Own(Mlp):
        pass

    entry = given_task(Own).entry
    assert isinstance(entry, ObjectEntry)
    assert (entry.name, entry.label) == ("__main__:Own", "Own")


def test_what_only_python_can_continue_is_said() -> None:
    found = quiet(study(cell()))
    with pytest.raises(UsageError, match=r"Churn is a Python class .*adamtune.search\(..., task=Churn\)"):
        quiet(found, trials=4)
    assert len(quiet(found, trials=4, task=cell()).trials) == 4


def test_mistakes_of_a_class_are_said() -> None:
    with pytest.raises(UsageError, match="Churn: Churn has no method model"):
        quiet(study(cell(("def model(self)", "def models(self)"))))
    with pytest.raises(UsageError, match=r"task\.hiden: unknown key 'hiden'; did you mean 'hidden'"):
        quiet(study({"name": cell(), "hiden": 4}))
    with pytest.raises(UsageError, match="task is 'mlp': give a class"):
        quiet(study(), task="mlp")


def test_where_processes_would_train_it_is_said_that_they_cannot(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adamtune.engines.plan.cores", lambda: 2)
    slow = cell(("self.layers(scaled(inputs))", "self.layers(inputs * float(inputs.numpy()[0, 0]))"))
    adamtune.search(study(slow))
    err = capsys.readouterr().err
    assert "Training one after the other on the CPU: " in err
    assert "; not in several processes, because " in err


FUNCTION = """
import adamtune


@adamtune.trainable(metrics={"loss": "minimize"})
def train(run):
    run.report(1, loss=run.settings["lr"])
"""


def test_a_function_of_a_file_is_trained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(folder)
    (folder / "given_train.py").write_text(FUNCTION)
    from given_train import train  # type: ignore[import-not-found]

    found = quiet(study(train))
    assert list(found.trials["value"]) == list(found.trials["lr"])
    del sys.modules["given_train"]


def test_a_function_that_processes_cannot_import_is_refused() -> None:
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(FUNCTION, scope)
    with pytest.raises(UsageError, match=r"write it to a file, .* task: train\.py:train"):
        quiet(study(scope["train"]))


@pytest.mark.slow
def test_a_program_may_define_its_task(folder: Path) -> None:
    """Without ``if __name__``; its own text may change between two runs, that of the task may not."""
    search = "adamtune.search({'name': 's', 'task': Churn, 'search': {'trials': TRIALS}}, progress=False)"
    program = f"{dedent(CELL)}\nimport adamtune\nprint({search}.counts['complete'])\n"

    def run(text: str) -> subprocess.CompletedProcess[str]:
        (folder / "tune.py").write_text(text)
        return subprocess.run([sys.executable, "tune.py"], capture_output=True, text=True, check=False)

    done = [run(program.replace("TRIALS", trials)) for trials in ("2", "3")]
    assert [(each.returncode, each.stdout) for each in done] == [(0, "2\n"), (0, "3\n")], done[-1].stderr
    changed = run(program.replace("TRIALS", "4").replace("SCALE = 2.0", "SCALE = 3.0"))
    assert "adamtune.errors.Refused: study s was trained with other code: Churn" in changed.stderr
