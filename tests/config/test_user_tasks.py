"""Study files of users' tasks: their settings are read as those of the reference tasks."""

from __future__ import annotations

from pathlib import Path

import pytest

from adamtune.config import Choice, Range, StudyConfig, differences, load_study, parse_study
from adamtune.errors import StudyFileError, UsageError

from ..user_tasks import line_of, write_task


def study(folder: Path, task: str = "churn.py", more: str = "") -> StudyConfig:
    return parse_study(f"name: x\ntask: {task}\n{more}\n", "x.yaml", folder=folder)


def problem(folder: Path, task: str = "churn.py", more: str = "") -> str:
    with pytest.raises(StudyFileError) as caught:
        study(folder, task, more)
    assert len(caught.value.problems) == 1, caught.value.problems
    return caught.value.problems[0]


def test_a_file_is_relative_to_the_study_and_kept_with_its_folder(tmp_path: Path) -> None:
    path = write_task(tmp_path)
    (tmp_path / "x.yaml").write_text("name: x\ntask: {name: churn.py, hidden: 9}\n")
    config = load_study(tmp_path / "x.yaml")
    assert config.task.name == str(path)
    assert config.task.settings == {"hidden": 9, "shift": 0.5, "batch_size": 16, "epochs": 2}
    assert config.objective.metric == "val_loss"
    again = StudyConfig.from_canonical(config.canonical())
    assert differences(config, again) == []
    assert again.task.entry.settings().path("") == tmp_path


def test_searched_settings(tmp_path: Path) -> None:
    write_task(tmp_path)
    config = study(tmp_path, more="space: {task: {hidden: {low: 2, high: 9}, shift: [0.1, 1]}}")
    assert config.space.task == {
        "hidden": Range(low=2, high=9, integer=True),
        "shift": Choice(values=(0.1, 1.0)),
    }
    assert config.task.settings == {"batch_size": 16, "epochs": 2}
    assert [(each.hidden, each.shift) for each in config.task_extremes()] == [  # type: ignore[attr-defined]
        (2, 0.1),
        (2, 1.0),
        (9, 0.1),
        (9, 1.0),
    ]


@pytest.mark.parametrize(
    ("task", "more", "message"),
    [
        ("{name: churn.py, hiden: 3}", "", "task.hiden: unknown key 'hiden'; did you mean 'hidden'?"),
        ("{name: churn.py, hidden: x}", "", "task.hidden: found 'x'; allowed: integer"),
        ("{name: churn.py, hidden: 2.5}", "", "task.hidden: found 2.5; allowed: integer"),
        ("{name: churn.py, batch_size: 0}", "", "task.batch_size: found 0; allowed: integer in [1, 1000000]"),
        ("{name: churn.py, steps: 3}", "", "task.steps: "),
        ("churn.py", "space: {task: {hidden: [2, x]}}", "space.task.hidden[1]: found 'x'"),
        ("churn.py", "space: {task: {nope: [2]}}", "space.task.nope: unknown setting of Churn 'nope'"),
        (
            "churn.py",
            "space: {hidden: [2, 3]}",
            "space.hidden: unknown here; a fixed setting of the task goes",
        ),
        ("churn.py", "objective: {metric: val_acuracy}", "did you mean 'val_accuracy'?"),
        (
            "churn.py",
            "objective: {metric: val_f1}",
            "which way is good: {metric: val_f1, direction: m",
        ),
        ("churn", "", "task: unknown task 'churn'; did you mean churn.py?"),
        ("chrun.py", "", "chrun.py: no such file; did you mean churn.py?"),
    ],
)
def test_problems_have_their_place(task: str, more: str, message: str, tmp_path: Path) -> None:
    write_task(tmp_path)
    line = 3 if more else 2
    found = problem(tmp_path, task, more)
    assert found.startswith(f"x.yaml:{line}: ")
    assert message in found


def test_a_mistake_in_the_file_of_a_task_is_a_problem_of_the_study(tmp_path: Path) -> None:
    path = write_task(tmp_path, ("hidden: int = 4", "hidden = 4"))
    expected = f"x.yaml:2: task: {line_of('hidden = 4', path)}: hidden has no type"
    assert problem(tmp_path).startswith(expected)
    with pytest.raises(StudyFileError) as caught:
        study(tmp_path)
    assert isinstance(caught.value.__cause__, UsageError)


def test_a_metric_without_a_known_direction_needs_one(tmp_path: Path) -> None:
    write_task(tmp_path)
    objective = study(tmp_path, more="objective: {metric: val_f1, direction: maximize}").objective
    assert (objective.metric, objective.direction) == ("val_f1", "maximize")
    write_task(tmp_path, ("    def metrics", "    def other"), name="plain.py")
    assert "unknown metric of Churn 'val_f1'" in problem(
        tmp_path, "plain.py", "objective: {metric: val_f1, direction: maximize}"
    )


def test_metrics_of_some_settings_alone(tmp_path: Path) -> None:
    """A study cannot optimize a metric that the task does not return with its settings."""
    method = "    def metric_directions(self):\n        return self.directions if self.hidden > 4 else {}\n\n"
    write_task(tmp_path, ("    def loss", method + "    def loss"))
    wanted = "objective: {metric: val_accuracy}"
    assert study(tmp_path, "{name: churn.py, hidden: 5}", wanted).objective.direction == "maximize"
    assert "unknown metric of Churn 'val_accuracy'; allowed: val_loss, train_loss" in problem(
        tmp_path, "churn.py", wanted
    )
    path = write_task(
        tmp_path, ("    def loss", method.replace("self.directions", "{'f1': 'up'}") + "    def loss")
    )
    with pytest.raises(UsageError, match=r"found 'up': give 'minimize' or 'maximize'") as caught:
        study(tmp_path, "{name: churn.py, hidden: 5}", wanted)
    assert str(caught.value).startswith(line_of("def metric_directions", path))


def test_a_searched_setting_with_the_name_of_a_hyperparameter(tmp_path: Path) -> None:
    write_task(tmp_path, ("shift", "momentum"))
    assert study(tmp_path).task.settings["momentum"] == 0.5
    found = problem(tmp_path, more="space: {task: {momentum: [0.1, 0.2]}}")
    assert "space.task.momentum: is a hyperparameter's name, too" in found


def test_a_setting_without_a_default_must_be_given(tmp_path: Path) -> None:
    write_task(tmp_path, ("hidden: int = 4", "hidden: int"))
    assert "task.hidden: is missing; allowed: integer" in problem(tmp_path)
    assert study(tmp_path, "{name: churn.py, hidden: 3}").task.settings["hidden"] == 3
    assert "hidden" in study(tmp_path, more="space: {task: {hidden: [2, 3]}}").space.task


# Settings that are checked together


CHECKED = """\
    @model_validator(mode="after")
    def _fits(self):
        if self.hidden == 7 and self.epochs == 3:
            raise ValueError("seven and three do not fit")
        return self

    def data"""


def checked_together(folder: Path) -> None:
    write_task(
        folder,
        ("    def data", CHECKED),
        ("import helper", "import helper\nfrom pydantic import model_validator"),
    )


@pytest.mark.parametrize(
    "space",
    [
        "{hidden: {low: 1, high: 9}, epochs: [2, 3]}",
        "{hidden: {low: 1, high: 9}, epochs: {low: 1, high: 4}}",
        "{hidden: {low: 1, high: 3000}, epochs: {low: 1, high: 3000}}",
        "{batch_size: {low: 1, high: 60}, shift: [0.1, 0.2], hidden: [6, 7], epochs: {low: 1, high: 90}}",
    ],
)
def test_values_within_a_range_are_checked_together(space: str, tmp_path: Path) -> None:
    checked_together(tmp_path)
    assert "seven and three do not fit" in problem(tmp_path, more=f"space: {{task: {space}}}")


def test_values_that_fit(tmp_path: Path) -> None:
    checked_together(tmp_path)
    space = "{hidden: {low: 8, high: 5000}, epochs: {low: 1, high: 5000}}"
    assert set(study(tmp_path, more=f"space: {{task: {space}}}").space.task) == {"hidden", "epochs"}


def test_every_value_of_a_range_is_checked(tmp_path: Path) -> None:
    write_task(
        tmp_path,
        ("hidden: int = 4", "hidden: Annotated[int, Field(multiple_of=4)] = 4"),
        ("import helper", "import helper\nfrom typing import Annotated\nfrom pydantic import Field"),
    )
    assert "space.task.hidden: " in problem(tmp_path, more="space: {task: {hidden: {low: 4, high: 8}}}")
    assert study(tmp_path, more="space: {task: {hidden: [4, 8]}}").space.task


def test_a_range_of_heads_is_checked_whole() -> None:
    with pytest.raises(StudyFileError, match="3 heads do not divide d_model 32"):
        study(Path(), "{name: transformer, d_model: 32}", "space: {task: {heads: {low: 1, high: 8}}}")
