"""The JSON Schema: up to date, true to the catalogs, and of one mind with the reader where it can be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from broken_study_files import BROKEN, Broken
from minimal_json_schema import accepts

from adamtune.config import schema
from adamtune.config.document import read_yaml
from adamtune.config.problems import Problems
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.schedules.registry import SCHEDULES
from adamtune.tasks.registry import TASKS

CONFIGS = Path(__file__).parents[2] / "configs"
SCHEMA = schema()

# What a schema cannot see: YAML itself, relations between values, and what another key makes applicable.
BEYOND_A_SCHEMA = {
    "precision-mps",
    *("twice", "twice-in-space", "date-tag", "number-key", "list-key", "newline-name", "settings-together"),
    *(
        "never-applies",
        "low-high",
        "low-is-high",
        "log-zero",
        "infinity",
        "huge",
        "both-forms",
        "ranges-differ",
    ),
    *("nesterov", "nesterov-choice", "schedule-never", "task-fit", "task-both", "task-together"),
    *("grid", "grid-default"),
    *("lone-surrogate", "surrogate-key", "switched-off", "unknown-tag"),
    *(each.name for each in BROKEN if "beyond float32" in each.problems[0][2]),
    *("zero-in-float32", "zero-low"),
    "median-without-curves",
    "journal-without-curves",
}


def test_what_is_beyond_a_schema_is_tried():
    assert {each.name for each in BROKEN} >= BEYOND_A_SCHEMA


def read(text: str) -> object:
    return read_yaml(text, Problems("x.yaml"))


def test_the_committed_schema_is_up_to_date():
    assert json.loads((CONFIGS / "study.schema.json").read_text()) == SCHEMA, (
        "run: adamtune schema > configs/study.schema.json"
    )


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_accepts_every_shipped_study(path: Path):
    assert accepts(SCHEMA, read(path.read_text()))


@pytest.mark.parametrize(
    "case", [each for each in BROKEN if "not YAML" not in each.problems[0][2]], ids=lambda case: case.name
)
def test_rejects_broken_studies_as_far_as_a_schema_can(case: Broken):
    assert accepts(SCHEMA, read(case.text)) == (case.name in BEYOND_A_SCHEMA)


@pytest.mark.parametrize("entry", OPTIMIZERS.values(), ids=lambda entry: entry.name)
def test_knows_every_hyperparameter_in_every_form(entry):
    for name, form in entry.forms.items():
        low = 1e-12 if form.open_low else form.low
        values = [False, True] if form.kind is bool else [form.kind(low), form.default]
        for value in values:
            study = {"name": "x", "task": "mlp", "optimizer": entry.name, "space": {name: value}}
            assert accepts(SCHEMA, study), study
        if form.kind is float:
            for wrong in (form.low - 1, "x", {"low": form.low - 1, "high": form.default}, [], {"low": 0.5}):
                assert not accepts(SCHEMA, {"name": "x", "task": "mlp", "space": {name: wrong}}), (
                    name,
                    wrong,
                )


@pytest.mark.parametrize("entry", SCHEDULES.values(), ids=lambda entry: entry.name)
def test_knows_every_schedule(entry):
    for schedule in (entry.name, [entry.name], {"name": entry.name, **entry.defaults}):
        assert accepts(SCHEMA, {"name": "x", "task": "mlp", "space": {"schedule": schedule}})


@pytest.mark.parametrize("entry", TASKS.values(), ids=lambda entry: entry.name)
def test_knows_every_task_with_its_settings_and_metrics(entry):
    settings = json.loads(entry.settings().model_dump_json())
    for metric in entry.metrics:
        study = {"name": "x", "task": {"name": entry.name, **settings}, "objective": {"metric": metric}}
        assert accepts(SCHEMA, study)
    data = entry.settings.data_settings
    searched = {name: [value] for name, value in settings.items() if name not in data}
    assert accepts(SCHEMA, {"name": "x", "task": entry.name, "space": {"task": searched}})
    assert not accepts(SCHEMA, {"name": "x", "task": entry.name, "space": {"task": {"no": [1]}}})
    assert not accepts(SCHEMA, {"name": "x", "task": {"name": entry.name, "no": 1}})
    assert not accepts(SCHEMA, {"name": "x", "task": entry.name, "objective": {"metric": "no"}})
