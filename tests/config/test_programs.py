"""Study files of functions and commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from adamtune.config import Choice, Range, StudyConfig, differences, parse_study
from adamtune.config.task_choice import CommandChoice
from adamtune.errors import StudyFileError

FUNCTION = '''\
import adamtune

@adamtune.trainable(metrics={"val_loss": "minimize", "accuracy": "maximize"})
def train(run):
    """Trains a net."""
'''
METRICS = "metrics: {val_loss: minimize, accuracy: maximize}"
COMMAND = """\
name: x
task:
  command: python train.py --lr {lr} --b {one_minus_beta1} --width {width} --depth {depth}
  metrics: {val_loss: minimize, accuracy: maximize}
  width: 8
space:
  lr: {low: 1e-4, high: 1e-1, log: true}
  beta1: [0.8, 0.9]
  task: {depth: {low: 1, high: 3}}
"""


def read(text: str, folder: Path = Path()) -> StudyConfig:
    return parse_study(text, "x.yaml", folder=folder)


def problems(text: str, folder: Path = Path()) -> str:
    with pytest.raises(StudyFileError) as caught:
        read(text, folder)
    return "\n".join(caught.value.problems)


def test_a_command() -> None:
    study = read(COMMAND)
    assert isinstance(study.task, CommandChoice)
    assert study.task.settings == {"width": 8}
    assert study.task.parameters == ("lr", "one_minus_beta1", "width", "depth")
    assert study.task.folder == str(Path.cwd())
    assert study.objective.model_dump() == {"metric": "val_loss", "direction": "minimize"}
    assert study.space.task == {"depth": Range(low=1, high=3, integer=True)}
    assert StudyConfig.from_canonical(study.canonical(), study.text) == study


def test_a_command_may_move_but_not_change(tmp_path: Path) -> None:
    assert not differences(read(COMMAND), read(COMMAND, tmp_path))
    assert read(COMMAND).hash == read(COMMAND, tmp_path).hash
    later = "workers: 3\nsearch: {trials: 9, trial_timeout: 2m, max_failures: 3}\n"
    assert not differences(read(COMMAND), read(COMMAND + later))
    changed = read(COMMAND.replace("train.py", "other.py"))
    assert [each.path for each in differences(read(COMMAND), changed)] == ["task.command"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "{lr}",
            "{lrr}",
            "task.command: lrr is neither a hyperparameter nor a setting; allowed: seed",
        ),
        ("{lr}", "{momentum}", "task.command: momentum is no hyperparameter of adamw"),
        ("{lr}", "1", "space.lr: is searched, but the command does not get it: write {lr} in the command"),
        ("{one_minus_beta1}", "0", "space.beta1: is searched, but the command does not get it"),
        ("{depth}", "1", "space.task.depth: is searched, but the command does not get it"),
        ("python train.py", "python 'train.py", "task.command: cannot be split as a shell does it"),
        ("width: 8", "lr: 8", "task.lr: lr has a meaning of its own in every trial"),
        ("width: 8", "seed: 8", "task.seed: seed has a meaning of its own in every trial"),
        ("width: 8", "wi-dth: 8", "task.wi-dth: is no name of a setting"),
        ("width: 8", "depth: 8", "space.task.depth: found with task.depth; keep one"),
        ("width: 8", "width: {a: 1}", "task.width: found {a: 1}; allowed: "),
        ("depth: {low: 1, high: 3}", "depth: 3", "space.task.depth: found 3; allowed: a list or a range"),
        ("val_loss: minimize", "val_loss: min", "task.metrics.val_loss: found 'min'; write minimize"),
        ("val_loss: minimize", "step: minimize", "task.metrics.step: is the step of a report"),
        (
            METRICS,
            "parameters: [lr]",
            "task: needs the metrics that",
        ),
        (
            "name: x",
            "name: x\nengine: sequential",
            "engine: found 'sequential', which does not apply",
        ),
        ("name: x", "name: x\npopulation: 3", "population: found 3, which does not apply"),
        ("name: x", "name: x\naccumulate: 3", "accumulate: found 3, which does not apply"),
        (
            "name: x",
            "name: x\nobjective: {metric: loss}",
            "objective.metric: unknown metric of the",
        ),
    ],
)
def test_a_wrong_command(old: str, new: str, message: str) -> None:
    assert old in COMMAND
    assert message in problems(COMMAND.replace(old, new))


def test_an_empty_command() -> None:
    text = "name: x\ntask: {command: '', metrics: {a: minimize}}\n"
    assert "task.command: found no program" in problems(text)


def test_parameters_that_come_in_the_environment() -> None:
    text = COMMAND.replace("--b {one_minus_beta1}", "").replace(
        "  width: 8", "  width: 8\n  parameters: [beta1]"
    )
    task = read(text).task
    assert isinstance(task, CommandChoice)
    assert task.parameters == ("beta1", "lr", "width", "depth")
    assert "task.parameters: bta1 is neither" in problems(text.replace("[beta1]", "[bta1]"))


def test_a_function_has_settings_of_any_name(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(FUNCTION)
    text = "name: x\ntask: {name: train.py, width: 8, layers: [1, 2], path: a/b}\nworkers: 2\n"
    text += "space: {lr: 0.1, task: {rate: {low: 0, high: 1.0}, kind: [a, b, 3]}}\n"
    study = read(text, tmp_path)
    assert study.task.name == f"{tmp_path / 'train.py'}:train"
    assert study.task.settings == {"width": 8, "layers": (1, 2), "path": "a/b"}
    assert study.space.task == {
        "rate": Range(low=0.0, high=1.0),
        "kind": Choice(values=("a", "b", 3)),
    }
    assert study.workers == 2
    other = read(text + "objective: {metric: accuracy}\n", tmp_path)
    assert other.objective.direction == "maximize"
    assert StudyConfig.from_canonical(study.canonical(), text) == study


def test_wrong_functions(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(
        FUNCTION + FUNCTION.replace("train(", "other(").replace("import adamtune", "")
    )
    assert "has 2 tasks: write two.py:train or two.py:other" in problems("name: x\ntask: two.py\n", tmp_path)
    assert read("name: x\ntask: two.py:other\n", tmp_path).task.entry.label == "other"
    assert "has no task missing; its tasks: train, other" in problems(
        "name: x\ntask: two.py:missing\n", tmp_path
    )
    (tmp_path / "plain.py").write_text("def train(run):\n    pass\n")
    assert "or a function with @adamtune.trainable" in problems("name: x\ntask: plain.py\n", tmp_path)
    (tmp_path / "wrong.py").write_text(FUNCTION.replace('"maximize"', '"max"'))
    found = problems("name: x\ntask: wrong.py\n", tmp_path)
    assert "wrong.py:3: ValueError: the metric accuracy has the direction 'max': write minimize" in found


@pytest.mark.parametrize("text", ["name: x\ntask: mlp\n", COMMAND])
def test_which_workers_there_are_is_no_difference(text: str) -> None:
    later = "workers: 3\ncluster: ray:10.0.0.1:6379\ncpus: 2\ngpus: 0.5\ndeterministic: false\n"
    assert read(text).hash == read(text + later).hash
    assert read(text + "cluster: ray\n").cluster == "ray"


def test_a_cluster_is_of_ray() -> None:
    assert "cluster: " in problems("name: x\ntask: mlp\ncluster: slurm\n")
