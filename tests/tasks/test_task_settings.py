"""What settings a task refuses, and what it says then."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from adamtune.tasks.registry import TASKS


@pytest.mark.parametrize(
    ("name", "settings", "field", "messages"),
    [
        ("mlp", {"dataset": "diabetes", "samples": 500}, "samples", ["442", "500", "friedman1"]),
        ("mlp", {"dataset": "diabetes", "samples": 10_000}, "samples", ["442", "10000", "friedman1"]),
        ("mlp", {"data": "x.csv", "dataset": "friedman1"}, "dataset", ["found with task.data", "keep one"]),
        ("mlp", {"data": "x.csv", "samples": 100}, "samples", ["found with task.data", "keep one"]),
        ("mlp", {"target": "y"}, "target", ["found without task.data"]),
        ("mlp", {"kind": "regression"}, "kind", ["found without task.data"]),
        ("mlp", {"file": "x.csv"}, "file", ["not permitted"]),
        ("cnn", {"side": 8}, "side", ["found without task.data"]),
        ("mlp", {"dataset": "diabetes", "batch_size": 400}, "batch_size", ["400", "282 training rows"]),
        ("mlp", {"batch_size": 6401}, "batch_size", ["6401", "at most 6400"]),
        ("mlp", {"samples": 20}, "batch_size", ["32", "at most 12"]),
        ("mlp", {"hidden": [0]}, "hidden", ["greater than or equal to 1"]),
        ("cnn", {"batch_size": 1150}, "batch_size", ["1150", "1149"]),
        ("cnn", {"channels": [4, 4, 4, 4]}, "channels", ["at most 3 items", "not 4"]),
        ("cnn", {"channels": []}, "channels", ["at least 1 item"]),
        ("cnn", {"dataset": "diabetes"}, "dataset", ["digits"]),
        ("transformer", {"heads": 3}, "heads", ["3 heads", "d_model 32", "2, 4, 8, 16, 32", "33"]),
        ("transformer", {"d_model": 15}, "heads", ["2 heads", "d_model 15", "1, 3, 5, 15", "16"]),
        ("transformer", {"width": 3}, "width", ["not permitted"]),
    ],
)
def test_wrong_settings(name: str, settings: dict[str, Any], field: str, messages: list[str]) -> None:
    with pytest.raises(ValueError, match="1 validation error") as caught:
        TASKS[name].build(settings)
    for message in (field, *messages):
        assert message in str(caught.value)


def test_one_wrong_setting_is_one_problem() -> None:
    with pytest.raises(ValueError, match="1 validation error"):
        TASKS["mlp"].build({"dataset": "friedman1", "samples": 3, "batch_size": 400})


def test_a_batch_larger_than_the_text() -> None:
    with pytest.raises(ValueError, match=r"batch_size 999999 is more than the \d+ training rows"):
        TASKS["transformer"].build({"batch_size": 999_999})


@pytest.mark.parametrize(
    ("settings", "samples", "rows"),
    [
        ({}, 10_000, 10_000),
        ({"dataset": "friedman1"}, 10_000, 10_000),
        ({"samples": 300}, 300, 300),
        ({"dataset": "diabetes"}, None, 442),
        ({"dataset": "friedman1", "samples": None}, None, 1000),  # as version 0.1.0 stored its default
    ],
)
def test_rows_of_the_mlp(settings: dict[str, Any], samples: int | None, rows: int) -> None:
    found: Any = TASKS["mlp"].settings.model_validate(settings)
    data = found.data()
    assert found.samples == samples
    assert sum(len(part[0]) for part in (data.train, data.validation, data.test)) == rows


def test_what_is_stored_of_built_in_data_is_as_before_files() -> None:
    """The hash of a study is of these settings and their order."""
    stored = {name: list(TASKS[name].settings().model_dump(by_alias=True)) for name in TASKS}
    assert stored == {
        "mlp": ["dataset", "samples", "hidden", "batch_size", "epochs"],
        "cnn": ["dataset", "channels", "hidden", "batch_size", "epochs"],
        "transformer": ["dataset", "d_model", "layers", "heads", "context", "batch_size", "steps"],
    }


@pytest.mark.parametrize("name", sorted(TASKS))
def test_settings_survive_being_written_out_in_full(name: str) -> None:
    model = TASKS[name].settings
    settings = model()
    assert model.model_validate_json(settings.model_dump_json()) == settings


def test_the_catalog_is_torch_free() -> None:
    script = "import sys, adamtune.tasks.registry, adamtune.catalog; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("mlp", {}),
        ("mlp", {"hidden": [256, 256]}),
        ("mlp", {"batch_size": 256}),
        ("cnn", {}),
        ("cnn", {"channels": [8]}),
        ("cnn", {"batch_size": 16}),
        ("transformer", {}),
        ("transformer", {"d_model": 64, "layers": 1}),
        ("transformer", {"batch_size": 8, "heads": 4}),
    ],
)
def test_what_a_step_works_in_is_known_without_torch(name: str, settings: dict[str, Any]) -> None:
    from adamtune.engines.population.verification import working_set

    entry = TASKS[name]
    known = entry.settings.model_validate(settings).step_bytes()
    assert known == pytest.approx(working_set(entry.build(settings)), rel=0.25)
