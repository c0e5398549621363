"""Plan, data hash and checks follow what the space can ask for, not the default of a searched setting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from adamtune.config import StudyConfig, parse_study
from adamtune.errors import Refused, UsageError
from adamtune.search.run import run
from adamtune.storage.open_session import open_session
from adamtune.storage.studies import list_studies, read_study
from adamtune.tasks.registry import TASKS
from adamtune.tasks.text import Text, python_reference

from .studies import searched, study

SMALL_DATA = {"dataset": "friedman1", "samples": 20}
"""Twelve training rows, fewer than the default batch."""


def plan_of(file: StudyConfig) -> str:
    """The plan of a new study in words."""
    return run(file, lambda progress: None).progress.notes[0]


def text_study(folder: Path, *contexts: int) -> StudyConfig:
    """A study over the context of the transformer, whose value changes the windows of the text."""
    document = {
        "name": "s",
        "storage": str(folder / "studies.db"),
        "task": {"name": "transformer", "d_model": 4, "layers": 1, "steps": 2},
        "space": {"lr": 0.01, "task": {"context": list(contexts)}},
        "search": {"trials": 1},
    }
    return parse_study(yaml.safe_dump(document), "study.yaml")


def with_trials(file: StudyConfig, trials: int) -> StudyConfig:
    """The study with another total."""
    return file.model_copy(update={"search": file.search.model_copy(update={"trials": trials})})


def test_the_default_of_a_searched_setting_need_not_be_legal(folder: Path) -> None:
    task = {**SMALL_DATA, "epochs": 1}
    done = searched(study(folder, task=task, space={"lr": 0.01, "task": {"batch_size": [4, 8]}}))
    assert sorted(each["settings"]["batch_size"] for each in done) == [4, 8]


def test_extremes_are_the_ends_of_numbers_and_all_other_values() -> None:
    space = {"batch_size": [64, 8, 32], "hidden": [[4], [8, 8], [2]], "epochs": {"low": 2, "high": 9}}
    found = study(Path(), space={"lr": 0.1, "task": space}).task_extremes()
    assert {each.batch_size for each in found} == {8, 64}  # type: ignore[attr-defined]
    assert {each.epochs for each in found} == {2, 9}  # type: ignore[attr-defined]
    assert {each.hidden for each in found} == {(4,), (8, 8), (2,)}  # type: ignore[attr-defined]
    assert len(found) == 2 * 2 * 3


@pytest.mark.parametrize("widths", [[[8], [1024, 1024]], [[1024, 1024], [8]]])
def test_the_plan_fits_the_largest_model(widths: list[list[int]], folder: Path, another: Path) -> None:
    search = {"trials": 400, "timeout": 1e-9}
    space = {"lr": {"low": 0.01, "high": 0.1}}
    several = study(folder, search=search, space=space | {"task": {"hidden": widths}})
    alone = study(another, search=search, space=space, task={"hidden": [1024, 1024]})
    assert plan_of(several) == plan_of(alone)


def test_the_largest_model_is_found_among_many_combinations() -> None:
    numbers = list(range(1, 40))
    space = {"batch_size": numbers, "epochs": numbers, "hidden": [[4], [4096, 4096]]}
    found = study(Path(), space={"lr": 0.1, "task": space}).task_extremes()
    largest = max(found, key=lambda each: each.step_bytes())
    assert (largest.hidden, largest.batch_size) == ((4096, 4096), 39)  # type: ignore[attr-defined]


def test_the_hash_of_one_data_set_is_that_of_the_data(folder: Path) -> None:
    file = study(folder, space={"lr": 0.1, "task": {"batch_size": [64, 128], "hidden": [[4], [8]]}})
    searched(file)
    assert read_study(file.storage, "s").data_hash == TASKS["mlp"].build({"dataset": "diabetes"}).data_hash


def test_the_hash_of_several_data_sets_depends_on_each(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = text_study(folder, 8, 16)
    searched(file)

    def changed(context: int) -> Text:
        data = python_reference(context)
        return replace(data, validation=(data.validation[0][1:],)) if context == 16 else data

    monkeypatch.setattr("adamtune.tasks.text.python_reference", changed)
    with pytest.raises(Refused, match="trained on other data"):
        run(with_trials(file, 2), lambda progress: None)
    monkeypatch.undo()
    assert run(with_trials(file, 2), lambda progress: None).reason == "complete"
    assert TASKS["transformer"].build({"context": 8}).data_hash != read_study(file.storage, "s").data_hash


def test_a_study_with_the_hash_of_the_default_data_is_resumed(folder: Path) -> None:
    """adamtune 0.1.0 stored that, whatever was searched."""
    file = text_study(folder, 8, 16)
    searched(file)
    session = open_session(file)
    session.set_attribute("data_hash", TASKS["transformer"].build({}).data_hash)
    session.begin_commit(None)
    session.close()
    assert run(with_trials(file, 2), lambda progress: None).reason == "complete"


def test_a_value_that_does_not_fit_the_data_is_refused_before_training(folder: Path) -> None:
    file = text_study(folder, 8, 16)
    settings = {**file.task.settings, "batch_size": 1_000_000}
    wrong = file.model_copy(update={"task": file.task.model_copy(update={"settings": settings})})
    with pytest.raises(UsageError, match="task transformer: batch_size 1000000"):
        run(wrong, lambda progress: None)
    assert list_studies(file.storage) == []
