"""Tasks of users: how they are found, what a class of one may be, and what is said of a wrong one."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import warnings
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
import torch
from pydantic import Field, ValidationError

from adamtune import Data, Task
from adamtune.engines.plan import make_plan
from adamtune.errors import UsageError
from adamtune.tasks import registry
from adamtune.tasks.code_hash import code_hash
from adamtune.tasks.entry import TaskEntry
from adamtune.tasks.loaded import Loader, load
from adamtune.tasks.own_data import OwnData
from adamtune.tasks.randomness import initial_module
from adamtune.tasks.registry import TASKS, find_task

from ..user_tasks import SOURCE, line_of, write_task


def found(name: str, folder: Path | None = None) -> TaskEntry:
    entry = find_task(name, folder)
    assert entry is not None
    return entry


# Settings


class Small(Task):
    """Two rows."""

    width: int = 3

    def data(self) -> Data:
        return Data(train=torch.zeros(8, 2), validation=torch.ones(3, 2))

    def model(self) -> torch.nn.Module:
        return torch.nn.Linear(2, self.width)

    def loss(self, model: Any, batch: Any) -> torch.Tensor:
        loss: torch.Tensor = model(batch).square().mean()
        return loss


class Counted(Small):
    """Steps in place of epochs."""

    batch_size: int = 4
    steps: int = 25


def test_the_length_of_a_training_comes_last_and_has_bounds() -> None:
    assert list(Small.model_fields) == ["width", "batch_size", "epochs"]
    assert list(Counted.model_fields) == ["width", "batch_size", "steps"]
    for wrong in ({"batch_size": 0}, {"steps": 0}, {"epochs": 3}, {"other": 1}):
        with pytest.raises(ValidationError):
            Counted(**wrong)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Small().width = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    ("task", "steps", "every"), [(Small(batch_size=3, epochs=7), 14, 2), (Counted(), 25, 3)]
)
def test_steps(task: Task, steps: int, every: int) -> None:
    loaded = load(task)
    assert (loaded.steps, loaded.evaluate_every, loaded.batch_size) == (steps, every, task.batch_size)


def test_a_batch_of_more_rows_than_there_are() -> None:
    with pytest.raises(ValueError, match="batch_size 9 is more than the 8 training rows"):
        load(Small(batch_size=9))


class Scored(Small):
    """Metrics of its own, among them the loss."""

    directions = {"error": "minimize"}  # noqa: RUF012

    def metrics(self, model: Any, batch: Any) -> dict[str, torch.Tensor]:
        return {"error": torch.tensor(2.0), "loss": torch.tensor(3.0)}


def test_metrics_have_a_prefix_and_the_loss_comes_first() -> None:
    plain, scored = load(Small(batch_size=2)), load(Scored(batch_size=2))
    model = plain.build()
    assert plain.scores(model, plain.validation).keys() == {"val_loss"}
    expected = model(torch.ones(3, 2)).square().mean()
    assert torch.equal(plain.scores(model, plain.validation)["val_loss"], expected)
    assert [(name, float(each)) for name, each in scored.scores(model, scored.validation).items()] == [
        ("val_loss", 3.0),
        ("val_error", 2.0),
    ]
    assert TaskEntry("x", Scored).metrics == {
        "val_loss": "minimize",
        "val_error": "minimize",
        "train_loss": "minimize",
    }


# Data that depend on settings


class Drawn(Small):
    """Data that follow from some settings."""

    kind: Literal["zeros", "ones"] = "zeros"
    rows: int = 8
    batch_size: int = 2

    def data(self) -> Data:
        CALLS.append(self)
        if self.kind == "zeros":
            return Data(train=torch.zeros(6, 2), validation=torch.zeros(2, 2))
        return Data(train=torch.ones(self.rows, 2), validation=torch.ones(2, 2))


CALLS: list[Drawn] = []


def test_data_are_loaded_once_for_each_value_of_what_they_read() -> None:
    CALLS.clear()
    loader = Loader()
    tasks = [
        loader.load(Drawn(kind=kind, rows=rows, width=width))  # type: ignore[arg-type]
        for kind in ("zeros", "ones")
        for rows in (7, 9)
        for width in (1, 2)
    ]
    assert len(CALLS) == 3
    assert len({each.data_hash for each in tasks}) == 3
    assert [len(each.train) for each in tasks] == [6, 6, 6, 6, 7, 7, 9, 9]
    assert loader.used == {"kind", "rows"}


def test_reading_all_settings_at_once_counts_for_each() -> None:
    class Dumped(Drawn):
        def data(self) -> Data:
            return Data(train=torch.zeros(self.model_dump()["rows"], 2), validation=torch.zeros(2, 2))

    loader = Loader()
    assert [len(loader.load(Dumped(rows=rows)).train) for rows in (7, 9)] == [7, 9]
    assert type(Dumped()) is Dumped


def test_equal_data_are_kept_once() -> None:
    loader = Loader()

    class Unused(Drawn):
        def data(self) -> Data:
            assert self.rows
            return Data(train=torch.zeros(6, 2), validation=torch.zeros(2, 2))

    first, second = (loader.load(Unused(rows=rows)) for rows in (7, 9))
    assert first.train.data_ptr() == second.train.data_ptr()


def test_data_that_draw_from_global_generators_are_repeated() -> None:
    class Random(Small):
        def data(self) -> Data:
            rows = torch.rand(8, 2), np.random.rand(8), np.array([random.random() for _ in range(8)])
            return Data(train=rows, validation=rows)

    before = torch.get_rng_state()
    assert len({load(Random(batch_size=4)).data_hash for _ in range(2)}) == 1
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_no_data() -> None:
    class Wrong(Small):
        def data(self) -> Any:
            return [1, 2]

    with pytest.raises(ValueError, match=r"data\(\) returned list: return Data\(train=..., validation=...\)"):
        load(Wrong())


# Finding tasks


@pytest.mark.parametrize("name", ["churn.py", "churn.py:Churn", "./churn.py", "sub/../churn.py"])
def test_a_file_relative_to_the_study(name: str, tmp_path: Path) -> None:
    path = write_task(tmp_path)
    (tmp_path / "sub").mkdir()
    entry = found(name, tmp_path)
    assert entry.name == f"{path}:Churn" if ":" in name else str(path)
    assert found(entry.name) == entry
    assert (entry.label, entry.summary) == ("Churn", "Which customers leave")
    assert entry.build({"hidden": 5}).build()[0].out_features == 5  # type: ignore[index]
    assert entry.settings().path("x.csv") == tmp_path / "x.csv"


def test_files_of_one_name_in_two_folders(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
        write_task(folder)
    (second / "helper.py").write_text("CLASSES = 7\n")
    models = [found("churn.py", folder).build({}).build() for folder in (first, second)]
    assert [each[2].out_features for each in models] == [2, 7]  # type: ignore[index]
    old = found("churn.py", first).settings()
    assert old.path("") == first


def test_a_file_with_the_name_of_a_module(tmp_path: Path) -> None:
    write_task(tmp_path, name="json.py")
    assert found("json.py", tmp_path).label == "Churn"
    import json

    assert json.dumps([1]) == "[1]"


def test_a_changed_file_is_loaded_again(tmp_path: Path) -> None:
    write_task(tmp_path)
    before = found("churn.py", tmp_path)
    assert found("churn.py", tmp_path).settings is before.settings
    (tmp_path / "helper.py").write_text("CLASSES = 5\n")
    assert found("churn.py", tmp_path).build({}).build()[2].out_features == 5  # type: ignore[index]


@pytest.mark.parametrize("name", ["shop.churn", "shop.churn:Churn"])
def test_a_module(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").write_text("")
    write_task(tmp_path / "shop", ("import helper", "from shop import helper"))
    monkeypatch.syspath_prepend(tmp_path)
    try:
        entry = found(name)
        assert (entry.name, entry.label, entry.file) == (name, "Churn", tmp_path / "shop" / "churn.py")
    finally:
        for each in [each for each in sys.modules if each.split(".")[0] == "shop"]:
            del sys.modules[each]


def test_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("small", f"{__name__}:Small", registry.GROUP)
    monkeypatch.setattr(EntryPoint, "load", lambda self: Small)
    monkeypatch.setattr(registry, "entry_points", lambda group, name: [point] if name == "small" else [])
    assert (found("small").settings, found("small").file) == (Small, Path(__file__))
    assert find_task("large") is None


def test_a_base_class_of_tasks_in_the_file_is_none_of_them(tmp_path: Path) -> None:
    path = write_task(tmp_path)
    path.write_text(SOURCE + "\n\nclass Other(Churn):\n    hidden: int = 9\n")
    assert found("churn.py", tmp_path).label == "Other"


WRONG = [
    ("hidden: int = 4", "hidden = 4", "hidden = 4", "hidden has no type: write it as hidden: int = 64"),
    ("epochs: int = 2", "epochs = 2", "epochs = 2", "epochs has no type"),
    (
        "hidden: int = 4",
        "hidden: int = 'x'",
        "hidden",
        "the default of hidden is 'x': Input should be a valid",
    ),
    ("epochs: int = 2", "epochs: int = 0", "epochs", "the default of epochs is 0: Input should be greater"),
    ("epochs: int = 2", "epochs: float = 2", "class Churn", "epochs must have the type int"),
    ("hidden: int = 4", "hidden: Width = 4", "hidden", "NameError: name 'Width' is not defined"),
    ("hidden: int = 4", "hidden: 'Width' = 4", "class Churn", "the type Width is not defined"),
    ("hidden: int = 4", "data: int = 4", "class Churn", "data cannot be a setting, because every task has"),
    ("directions =", "directions: dict =", "class Churn", "write it without a type"),
    ('"maximize"', '"up"', "directions", "accuracy is 'up': write 'minimize' or 'maximize'"),
    ("def loss", "def cost", "class Churn", "Churn has no method loss"),
    ("def model(self)", "def model(self", "def model", "invalid syntax|was never closed|expected"),
    ("import helper", "import helper_gone", "import helper_gone", "No module named 'helper_gone'"),
    (
        "import helper",
        "import helper\nraise SystemExit",
        "raise SystemExit",
        "ends the program: put this under",
    ),
    ("import helper", "import helper\n1 / 0", "1 / 0", "ZeroDivisionError: division by zero"),
]


@pytest.mark.parametrize(("old", "new", "line", "message"), WRONG, ids=[each[3][:30] for each in WRONG])
def test_a_mistake_is_found_with_its_line(
    old: str, new: str, line: str, message: str, tmp_path: Path
) -> None:
    path = write_task(tmp_path, (old, new))
    with pytest.raises(UsageError, match=message) as caught:
        find_task("churn.py", tmp_path)
    assert str(caught.value).startswith(f"{line_of(line, path)}: ")


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("chrn.py", "", r"chrn\.py: no such file; did you mean churn\.py\?"),
        ("other.py", "x = 1\n", r"other\.py: has no task: define a class with the base class adamtune\.Task"),
        ("other.py", "from churn import Churn\n", r"other\.py: has no task"),
        ("churn.py:Chrn", "", r"churn\.py: has no task Chrn; its tasks: Churn"),
        (
            "other.py",
            "from churn import Churn\n\nclass A(Churn): pass\n\nclass B(Churn): pass\n",
            r"has 2 tasks: write other\.py:A or other\.py:B",
        ),
        ("no.such.module", "", "no.such.module: ModuleNotFoundError: No module named 'no'"),
    ],
)
def test_a_task_that_is_not_there(name: str, source: str, message: str, tmp_path: Path) -> None:
    write_task(tmp_path)
    if source:
        (tmp_path / name).write_text(source)
    with pytest.raises(UsageError, match=message):
        find_task(name, tmp_path)


def test_what_a_file_prints_is_no_output_of_the_program(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_task(tmp_path, ("import helper", "import helper\nprint('hello')"))
    find_task("churn.py", tmp_path)
    assert capsys.readouterr() == ("", "hello\n")


def test_no_compiled_files_are_left(tmp_path: Path) -> None:
    write_task(tmp_path)
    find_task("churn.py", tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["churn.py", "helper.py"]


# The hash of the code


def test_comments_layout_and_docstrings_do_not_count(tmp_path: Path) -> None:
    path = write_task(tmp_path)
    before = code_hash(path)
    (tmp_path / "helper.py").write_text("CLASSES = (\n    2\n)\n")
    (tmp_path / "unused.py").write_text("x = 1\n")
    path.write_text(SOURCE.replace("import helper", "# why\nimport helper").replace("customers", "clients"))
    assert code_hash(path) == before


@pytest.mark.parametrize(
    ("imports", "files"),
    [
        ("import helper", {"helper.py": ""}),
        ("from helper import CLASSES", {"helper.py": ""}),
        ("import tools.deep", {"tools/__init__.py": "", "tools/deep.py": ""}),
        ("from tools import deep", {"tools/__init__.py": "", "tools/deep.py": ""}),
        ("def late():\n    import helper", {"helper.py": ""}),
        ("import helper", {"helper.py": "import other\n", "other.py": ""}),
        ("import tools", {"tools/__init__.py": "from . import deep\n", "tools/deep.py": ""}),
        ("import tools", {"tools/__init__.py": "from .deep import x\n", "tools/deep.py": "x = 1\n"}),
    ],
)
def test_every_imported_file_counts(imports: str, files: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "churn.py"
    path.write_text(imports + "\n")
    (tmp_path / "tools").mkdir()
    hashes = []
    for changed in (None, "churn.py", *files):
        for name, text in files.items():
            (tmp_path / name).write_text(text + ("y = 2\n" if name == changed else ""))
        path.write_text(imports + ("\ny = 2\n" if changed == "churn.py" else "\n"))
        hashes.append(code_hash(path))
    assert len(set(hashes)) == len(hashes)


# What is imported when


def test_the_public_names_import_no_torch() -> None:
    script = "import sys; from adamtune import Data, Task; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_reference_tasks_are_written_in_this_form() -> None:
    for entry in TASKS.values():
        assert issubclass(entry.settings, Task)
        assert entry.settings.__bases__ == (OwnData,)  # which adds a setting
        assert entry.file is None


def test_a_field_with_bounds_keeps_them() -> None:
    class Bounded(Small):
        batch_size: Annotated[int, Field(ge=8)] = 8

    with pytest.raises(ValidationError):
        Bounded(batch_size=4)


def test_filters_of_warnings_that_a_file_sets_stay(tmp_path: Path) -> None:
    code = "import warnings\n\nwarnings.filterwarnings('ignore', 'known noise')\nimport torch\n"
    before = list(warnings.filters)
    found(str(write_task(tmp_path, ("import torch\n", code))))
    (own,) = (each for each in warnings.filters if each not in before)
    assert own[1].match("known noise")  # type: ignore[union-attr]


# Models


class Common(Small):
    """A model of a layer of its own, and of one that a file has loaded once."""

    def model(self) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Linear(2, 2), COMMON)


COMMON = torch.nn.Linear(2, 1)


def test_models_get_a_copy_of_a_layer_that_all_have() -> None:
    """Or a training would go on with the weights that another one has left there."""
    task, weight = load(Common(batch_size=4)), COMMON.weight.detach().clone()
    first, second = (initial_module(task, 0, 0) for _ in range(2))
    for parameter in first.parameters():
        parameter.data.zero_()
    again = initial_module(task, 0, 0)
    assert all(map(torch.equal, second.parameters(), again.parameters()))
    assert torch.equal(dict(again.named_parameters())["1.weight"], weight)
    assert torch.equal(COMMON.weight, weight)
    assert make_plan(task, "auto", 2, "cpu", 1).engine == "population"


def test_a_layer_that_all_have_and_that_cannot_be_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(COMMON, "lock", threading.Lock(), raising=False)
    with pytest.raises(UsageError, match=r"same layers at each call.*lock.*make new ones in model\(\)"):
        initial_module(load(Common(batch_size=4)), 0, 0)
