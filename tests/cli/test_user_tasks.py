"""Searches of users' tasks through the whole program: results, mistakes, changed code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from adamtune.engines.plan import cores
from adamtune.storage.studies import list_studies

from ..user_tasks import line_of, write_task
from .conftest import Ended
from .studies import Adamtune, without_seconds


@pytest.fixture
def study(tmp_path: Path) -> Path:
    write_task(tmp_path)
    return write(tmp_path / "study.yaml")


def write(path: Path, **changed: Any) -> Path:
    document: dict[str, Any] = {
        "name": "s",
        "storage": str(path.with_name("studies.db")),
        "task": "churn.py",
        "space": {"lr": {"low": 1e-3, "high": 1e-1, "log": True}},
        "search": {"trials": 4},
    }
    path.write_text(yaml.safe_dump(document | changed))
    return path


def reported(adamtune: Adamtune, study: Path) -> dict[str, Any]:
    code, out, err = adamtune("report", "s", "--storage", study.with_name("studies.db"), "--format", "json")
    assert code == 0, err
    return without_seconds(out)


def fails(ended: Ended, code: int, message: str) -> None:
    assert ended.code == code, ended
    assert message in " ".join(ended.err.split())
    assert "Traceback" not in ended.err
    assert ended.out == ""


def test_a_search_reports_the_metrics_of_the_task(adamtune: Adamtune, study: Path) -> None:
    write(study, objective={"metric": "val_accuracy"})
    code, _, err = adamtune("search", study)
    assert code == 0, err
    found = reported(adamtune, study)
    assert [each["state"] for each in found["trials"]] == ["complete"] * 4
    assert all(0 <= each["value"] <= 1 for each in found["trials"])
    assert found["trials"][0]["metrics"].keys() == {"val_loss", "val_accuracy", "train_loss"}


def test_engines_agree_and_a_study_repeats(adamtune: Adamtune, study: Path, tmp_path: Path) -> None:
    values = []
    for name, engine in (("a", "population"), ("b", "population"), ("c", "sequential")):
        folder = tmp_path / name
        folder.mkdir()
        write_task(folder)
        file = write(folder / "study.yaml", engine=engine, search={"trials": 4, "sampler": "qmc"})
        assert adamtune("search", file).code == 0
        values.append([each["value"] for each in reported(adamtune, file)["trials"]])
    assert values[0] == values[1]
    assert values[2] == pytest.approx(values[0], rel=1e-4)


def test_searched_settings_of_different_models(adamtune: Adamtune, study: Path) -> None:
    write(study, space={"lr": 0.01, "task": {"hidden": {"low": 2, "high": 5}}}, search={"trials": 9})
    assert adamtune("search", study).code == 0
    found = reported(adamtune, study)["trials"]
    assert sorted(each["params"]["hidden"] for each in found) == [2, 3, 4, 5]
    assert len({each["value"] for each in found}) == 4


def test_resume_needs_no_study_file_and_another_folder_is_no_matter(
    adamtune: Adamtune, study: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert adamtune("search", study).code == 0
    study.unlink()
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    ended = adamtune("resume", "s", "--storage", study.with_name("studies.db"), "--trials", "6")
    assert ended.code == 0, ended
    assert len(reported(adamtune, study)["trials"]) == 6


# Code that changes


def test_changed_code_is_refused(adamtune: Adamtune, study: Path) -> None:
    assert adamtune("search", study).code == 0
    before = reported(adamtune, study)
    helper = study.with_name("helper.py")
    original = helper.read_text()
    helper.write_text("CLASSES = 3\n")
    for command in (("search", study), ("resume", "s", "--storage", study.with_name("studies.db"))):
        fails(adamtune(*command, "--trials", "6"), 3, "study s was trained with other code")
    assert reported(adamtune, study) == before
    assert adamtune("search", study, "--name", "t").code == 0
    helper.write_text(original + "# the same\n")
    assert adamtune("search", study, "--trials", "6").code == 0


def test_data_that_differ_each_time_are_refused(adamtune: Adamtune, study: Path) -> None:
    write_task(
        study.parent,
        ("import helper", "import helper\nimport time"),
        (
            "torch.randn(80, 3, generator=torch.Generator().manual_seed(0))",
            "torch.randn(80, 3) + time.time() % 1",
        ),
    )
    assert adamtune("search", study).code == 0
    fails(adamtune("search", study, "--trials", "6"), 3, "Put the old data back (and seed what data() draws)")


def test_a_task_that_has_gone_is_no_matter_for_reports(adamtune: Adamtune, study: Path) -> None:
    assert adamtune("search", study).code == 0
    study.with_name("churn.py").unlink()
    assert len(reported(adamtune, study)["trials"]) == 4
    fails(adamtune("search", study), 2, "churn.py: no such file")
    resumed = adamtune("resume", "s", "--storage", study.with_name("studies.db"), "--trials", "6")
    fails(resumed, 2, "churn.py: no such file")
    assert len(reported(adamtune, study)["trials"]) == 4


# Mistakes, each with the line of the user's file

LOSS = "return F.cross_entropy(model(inputs + self.shift), target)"
MODEL = "return nn.Sequential(nn.Linear(3, self.hidden), nn.ReLU(), nn.Linear(self.hidden, helper.CLASSES))"
ACCURACY = ".float().mean()}"
MISTAKES = {
    "shape": ("nn.Linear(3,", "nn.Linear(4,", LOSS, "mat1 and mat2 shapes cannot be multiplied"),
    "no module": (MODEL, "return [3]", "def model", "model() returned list: return an nn.Module"),
    "no parameters": (MODEL, "return nn.ReLU()", "def model", "the model has no parameters to train"),
    "frozen": (
        MODEL,
        "return nn.Linear(3, 2).requires_grad_(False)",
        "def model",
        "the model has no parameters to train",
    ),
    "vector": (
        LOSS,
        LOSS.replace("target)", "target, reduction='none')"),
        "def loss",
        "loss returned a tensor of shape (16,) and type torch.float32: return one real number",
    ),
    "number": (LOSS, "return 3.0", "def loss", "loss returned 3.0: return one real number as a tensor"),
    "attribute": (LOSS, "self.last = 3; " + LOSS, "self.last", "last: a task's attributes are settings"),
    "no message": (LOSS, "assert model is None; " + LOSS, "assert", "AssertionError: assert model is None"),
    "detached": (LOSS, LOSS + ".detach()", "def loss", "the loss does not depend on the model's parameters"),
    "pair": (LOSS, LOSS + ", 3", "def loss", "loss returned ("),
    "nan": (LOSS, LOSS + " * float('nan')", "def loss", "the loss of the first batch is nan before"),
    "nan gradient": (
        LOSS,
        "return model(inputs).abs().sum() * 0 + (model(inputs).sum() * 0).sqrt()",
        "def loss",
        "the gradient of 0.weight is NaN or infinite before the first step",
    ),
    "sparse gradient": (
        LOSS,
        "return F.embedding(inputs.long() * 0, model[0].weight, sparse=True).mean()",
        "def loss",
        "the gradient of 0.weight is sparse, which the optimizers do not take: use sparse=False",
    ),
    "nan data": (
        "return Data.split",
        "inputs[7, 1] = float('nan'); return Data.split",
        "return Data.split",
        "rows[0]: 1 of 240 numbers are NaN, infinite or beyond float32, the first (nan) at [7, 1]",
    ),
    "target": (
        "(inputs.sum(1) > 0).long()",
        "(inputs.sum(1) > 0).long() + 9 * (torch.arange(80) == 79)",
        "F.cross_entropy",
        "IndexError: Target 10 is out of bounds",
    ),
    "metric": (ACCURACY, ".float()}", "def metrics", "metric val_accuracy is a tensor of shape [16]"),
    "metric text": (
        'return {"accuracy": (model(inputs).argmax(-1) == target).float().mean()}',
        "return {'accuracy': 'good'}",
        "def metrics",
        "the metric val_accuracy is 'good': return one number",
    ),
    "no metrics": ("return {", "return None, {", "def metrics", "metrics() returned tuple: return a dict"),
    "metric raises": (ACCURACY, ".float().mean() / {}['x']}", "return {", "KeyError: 'x'"),
    "data raises": (
        "return Data.split",
        "raise OSError('no disk')\n        return Data.split",
        "raise OSError",
        "OSError: no disk",
    ),
    "no data": ("return Data.split(", "return (lambda *_, **__: 3)(", "def data", "data() returned int"),
    "batch": (
        "batch_size: int = 16",
        "batch_size: int = 41",
        "def data",
        "batch_size 41 is more than the 40",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_ends_before_the_first_trial(name: str, adamtune: Adamtune, study: Path) -> None:
    old, new, line, message = MISTAKES[name]
    path = write_task(study.parent, (old, new))
    for command in ("search", "validate"):
        ended = adamtune(command, study)
        fails(ended, 2, message)
        assert ended.err.startswith(line_of(line, path)), ended.err
    assert list_studies(str(study.with_name("studies.db"))) == []


def test_a_wrong_target_of_the_test_rows_is_found(adamtune: Adamtune, study: Path) -> None:
    wrong = "(inputs.sum(1) > 0).long() + 9 * (torch.arange(80) == 79), time=list(range(80))"
    write_task(study.parent, ("(inputs.sum(1) > 0).long()", wrong))
    fails(adamtune("search", study), 2, "IndexError: Target 10 is out of bounds")


def test_an_objective_that_the_task_does_not_report(adamtune: Adamtune, study: Path) -> None:
    write(study, objective={"metric": "val_f1", "direction": "maximize"})
    message = "Churn reports no metric val_f1; its metrics: val_loss, val_accuracy, train_loss"
    fails(adamtune("search", study), 2, message)
    assert list_studies(str(study.with_name("studies.db"))) == []


def test_a_metric_that_raises_late_keeps_what_is_done(adamtune: Adamtune, study: Path) -> None:
    late = "CALLS.append(1)\n        assert len(CALLS) < 9, 'too late'\n        return {"
    path = write_task(
        study.parent, ("        return {", "        " + late), ("import helper", "import helper\nCALLS = []")
    )
    write(study, engine="sequential")
    fails(adamtune("search", study), 1, f"{line_of('too late', path)}: AssertionError: too late")


def test_settings_that_change_the_data_cannot_be_searched(adamtune: Adamtune, study: Path) -> None:
    write_task(study.parent, ("torch.randn(80,", "torch.randn(80 + self.hidden,"))
    write(study, space={"lr": 0.1, "task": {"hidden": [2, 3], "shift": [0.1, 0.2]}})
    ended = adamtune("search", study)
    fails(ended, 2, "space.task.hidden changes the data, so its trials cannot be compared: move it to")
    assert list_studies(str(study.with_name("studies.db"))) == []


def test_debug_shows_where_a_file_failed(adamtune: Adamtune, study: Path) -> None:
    write_task(study.parent, ("import helper", "import helper\n1 / 0"))
    ended = adamtune("--debug", "search", study)
    assert ended.code == 2
    assert "ZeroDivisionError" in ended.err
    assert "Traceback" in ended.err


# validate and tasks

NOT_LOCKSTEP = " processes): " if cores() > 1 else "one after the other on the "


def test_validate_tells_what_the_model_is(adamtune: Adamtune, study: Path) -> None:
    write(study, space={"lr": 0.1, "task": {"hidden": [2, 100]}}, engine="sequential")
    code, out, err = adamtune("validate", study)
    assert (code, err) == (0, "")
    lines = dict(line.split(None, 1) for line in out.splitlines()[:9])
    assert lines["task"] == f"Churn, of {study.with_name('churn.py')}"
    assert lines["training"].startswith("one after the other on the ")
    assert lines["model"].startswith("602 parameters; 0.")
    assert "2 trainings of 4 steps of " in lines["time"]
    assert lines["metrics"] == "val_loss, val_accuracy, train_loss"
    assert not study.with_name("studies.db").exists()


def test_validate_says_why_a_task_is_not_trained_in_lockstep(adamtune: Adamtune, study: Path) -> None:
    loss = "if float(inputs.sum()) > 1e9: raise ValueError\n        " + LOSS
    write_task(study.parent, (LOSS, loss))
    code, out, _ = adamtune("validate", study)
    assert code == 0
    assert NOT_LOCKSTEP in out


def test_validate_finds_the_kind_of_model_that_cannot_be_trained_in_lockstep(
    adamtune: Adamtune, study: Path
) -> None:
    loss = "if self.wild and float(inputs.sum()) > 1e9: raise ValueError\n        " + LOSS
    small = ("self.hidden", "(1 if self.wild else self.hidden)")
    write_task(study.parent, (LOSS, loss), small, ("hidden: int = 4", "hidden: int = 4\n    wild: str = ''"))
    write(study, space={"lr": 0.1, "task": {"wild": ["", "x"]}})
    assert NOT_LOCKSTEP in adamtune("validate", study).out
    write(study)
    assert " at a time" in adamtune("validate", study).out


def test_tasks_documents_a_file(adamtune: Adamtune, study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(study.parent)
    code, out, err = adamtune("tasks", "churn.py")
    assert (code, err) == (0, "")
    assert [" ".join(line.split()) for line in out.splitlines()] == [
        "Churn: Which customers leave",
        "setting default",
        "hidden 4 integer",
        "shift 0.5 a number",
        "batch_size 16 rows of every batch",
        "epochs 2 passes over the training rows",
        "metric direction",
        "val_loss minimize",
        "val_accuracy maximize",
        "train_loss minimize",
        "metrics() may return others: give their directions in the task, or in the study",
    ]
    fails(adamtune("tasks", "chrn.py"), 2, "chrn.py: no such file; did you mean churn.py?")
    fails(adamtune("tasks", "mpl"), 2, "unknown task 'mpl'; did you mean 'mlp'?")


def test_a_reference_task_alone(adamtune: Adamtune) -> None:
    assert adamtune("tasks", "cnn").out in adamtune("tasks").out
