from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from adamtune.config import Choice, Fixed, Range, StudyConfig, as_trained, load_study, parse_study
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.schedules.registry import SCHEDULES
from adamtune.tasks.registry import TASKS

CONFIGS = Path(__file__).parents[2] / "configs"
MINIMAL = "name: x\ntask: mlp\n"


def study(*lines: str, **overrides: object) -> StudyConfig:
    return parse_study("\n".join(["name: x", *lines]), "x.yaml", overrides)


def test_a_minimal_file_has_sensible_defaults():
    minimal = parse_study(MINIMAL, "x.yaml")
    assert minimal.optimizers == ("adamw",)
    assert minimal.space.searched == {"lr": Range(low=1e-5, high=1e-1, log=True)}
    assert minimal.task.settings == TASKS["mlp"].settings().model_dump()
    assert minimal.objective.model_dump() == {"metric": "val_loss", "direction": "minimize"}
    assert minimal.search.model_dump() == {
        **{"trials": 64, "timeout": None, "sampler": "tpe", "pruner": "none", "seeds": 1, "seed": 0},
        **{"trial_timeout": None, "max_failures": 10, "keep_curves": "all"},
        **{"start": "default", "confirm": "auto", "ablate": "auto"},
    }
    assert minimal.baseline == "default"
    assert (minimal.storage, minimal.engine, minimal.population, minimal.device) == (
        *("runs/adamtune.db", "auto", "auto", "auto"),
    )
    assert minimal.text == MINIMAL


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_what_the_file_leaves_out_is_fixed_at_its_default(optimizer: str, schedule: str):
    space = study("task: cnn", f"optimizer: {optimizer}", f"space: {{schedule: {schedule}}}").space
    for group, catalog, name in (
        (space.optimizers, OPTIMIZERS, optimizer),
        (space.schedules, SCHEDULES, schedule),
    ):
        assert list(group) == [name]
        assert group[name] == {key: Fixed(value=value) for key, value in catalog[name].defaults.items()}
        assert list(group[name]) == list(catalog[name].defaults)
    assert space.searched == {}


def test_every_form_of_the_space():
    space = study(
        "task: cnn",
        "optimizer: [adamw, sgd]",
        "space:",
        "  lr: {low: 1e-5, high: 1e-1, log: true}",
        "  one_minus_beta1: [0.1, 0.2]",
        "  weight_decay: 1",
        "  eps: [1e-8]",
        "  amsgrad: [true, false]",
        "  momentum: {low: 0, high: 0.99}",
        "  schedule:",
        "    name: [constant, step]",
        "    drops: {low: 1, high: 4}",
        "    drop_factor: 0.5",
        "  task:",
        "    hidden: {low: 16, high: 64, log: true}",
        "    channels: [[16], [8, 8]]",
        "    batch_size: [32, 64]",
    ).space
    lr = Range(low=1e-5, high=1e-1, log=True)
    assert space.optimizer == Choice(values=("adamw", "sgd"))
    assert space.optimizers["adamw"] == {
        "lr": lr,
        "one_minus_beta1": Choice(values=(0.1, 0.2)),
        "beta2": Fixed(value=0.999),
        "eps": Fixed(value=1e-8),
        "weight_decay": Fixed(value=1.0),
        "amsgrad": Choice(values=(True, False)),
    }
    assert space.optimizers["sgd"]["momentum"] == Range(low=0.0, high=0.99)
    assert space.schedule == Choice(values=("constant", "step"))
    assert space.schedules["step"]["drops"] == Range(low=1, high=4, integer=True)
    assert space.task == {
        "channels": Choice(values=((16,), (8, 8))),
        "hidden": Range(low=16, high=64, log=True, integer=True),
        "batch_size": Choice(values=(32, 64)),
    }
    assert list(space.searched) == [
        *("optimizer", "schedule", "lr", "one_minus_beta1", "amsgrad", "momentum", "drops"),
        *("channels", "hidden", "batch_size"),
    ]


def test_searched_settings_are_not_among_the_fixed_ones():
    chosen = study("task: {name: mlp, epochs: 3}", "space: {task: {batch_size: [8, 16]}}")
    assert chosen.task.settings["epochs"] == 3
    assert "batch_size" not in chosen.task.settings
    settings = {**chosen.task.settings, "batch_size": 8}
    assert TASKS["mlp"].settings.model_validate(settings).model_dump() == settings


def test_searched_settings_are_judged_with_each_other_and_not_with_defaults():
    chosen = study("task: transformer", "space: {task: {d_model: [33, 66], heads: [3, 11]}}")
    assert chosen.space.task["heads"] == Choice(values=(3, 11))
    rows = study("task: {name: mlp, dataset: friedman1, samples: 20}", "space: {task: {batch_size: [4, 8]}}")
    assert rows.space.task["batch_size"] == Choice(values=(4, 8))


@pytest.mark.parametrize("forms", [("beta1", 0.9), ("one_minus_beta1", 0.1)])
def test_a_decay_in_both_forms(forms: tuple[str, float]):
    name, value = forms
    adamw = study("task: mlp", f"space: {{{name}: {value}}}").space.optimizers["adamw"]
    assert adamw[name] == Fixed(value=value)
    assert ("beta1" in adamw) != ("one_minus_beta1" in adamw)
    assert as_trained(name, value) == ("beta1", 0.9)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("none", {}),
        ("0.5", {"clip_norm": Fixed(value=0.5)}),
        ("[none, 1, 10]", {"clip_norm": Choice(values=("none", 1.0, 10.0))}),
        ("{low: 0.1, high: 10, log: true}", {"clip_norm": Range(low=0.1, high=10.0, log=True)}),
    ],
)
def test_clipping_is_a_hyperparameter_of_every_trial(written: str, expected: object):
    chosen = study("task: mlp", "optimizer: [adam, sgd]", f"space: {{clip_norm: {written}, lr: 0.1}}")
    assert chosen.space.training == expected


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-5", 1e-5),
        ("1E5", 1e5),
        ("+1e+2", 100.0),
        (".5e-3", 5e-4),
        ("1.e-3", 1e-3),
        ("1.5e3", 1500.0),
        ("3", 3.0),
    ],
)
def test_numbers_without_a_dot_are_numbers(written: str, value: float):
    lr = study("task: mlp", f"space: {{lr: {written}}}").space.optimizers["adamw"]["lr"]
    assert lr == Fixed(value=value)
    assert isinstance(lr.value, float)


@pytest.mark.parametrize("written", ["off", "no", "yes", "on", "010", "0x1f", "1_000", "0o17"])
def test_words_and_odd_numbers_are_text_where_text_is_legal(written: str):
    assert parse_study(f"name: {written}\ntask: mlp\n", "x.yaml").name == written


@pytest.mark.parametrize("written", ["3.4028234e38", "1e-45", "1e-320"])
def test_every_number_of_float32_is_legal(written: str):
    key = "eps" if written == "1e-320" else "lr"
    adamw = study("task: mlp", f"space: {{{key}: {written}}}").space.optimizers["adamw"]
    assert adamw[key] == Fixed(value=float(written))


def test_dates_and_quoted_numbers_are_text():
    assert parse_study("name: 2024-01-31\ntask: mlp\n", "x.yaml").name == "2024-01-31"
    assert parse_study('name: "1e-5"\ntask: mlp\n', "x.yaml").name == "1e-5"


def test_merge_keys_and_aliases():
    chosen = study(
        "task: mlp",
        "space:",
        "  lr: &span {low: 1e-3, high: 1.0}",
        "  eps: {<<: *span, low: 1e-9}",
    )
    assert chosen.space.optimizers["adamw"]["eps"] == Range(low=1e-9, high=1.0)


@pytest.mark.parametrize(
    ("written", "seconds"), [("30m", 1800), ("12.5", 12.5), ("60", 60), ('"60"', 60), ("null", None)]
)
def test_timeouts(written: str, seconds: float | None):
    assert study("task: mlp", f"search: {{timeout: {written}}}").search.timeout == seconds


def test_the_direction_follows_the_metric_unless_given():
    assert study("task: cnn", "objective: {metric: val_accuracy}").objective.direction == "maximize"
    chosen = study("task: cnn", "objective: {metric: val_accuracy, direction: minimize}")
    assert chosen.objective.direction == "minimize"


def test_overrides_replace_what_the_file_says_or_leaves_out():
    overrides: dict[str, object] = {
        "search.trials": 7,
        "search.timeout": "5m",
        "name": "y",
        "storage": "z.db",
    }
    chosen = parse_study(MINIMAL + "search: {trials: 3}\n", "x.yaml", overrides)
    assert (chosen.name, chosen.search.trials, chosen.search.timeout) == ("y", 7, 300)


def test_an_override_mends_what_the_file_has_wrong():
    assert parse_study(MINIMAL + "search: {trials: 0}\n", "x.yaml", {"search.trials": 3}).search.trials == 3


def test_a_byte_order_mark_is_no_problem(tmp_path: Path):
    (tmp_path / "x.yaml").write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
    assert load_study(tmp_path / "x.yaml").name == "x"


def test_a_study_does_not_change():
    chosen = parse_study(MINIMAL, "x.yaml")
    with pytest.raises(ValidationError):
        chosen.search.trials = 3  # type: ignore[misc]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_studies(path: Path):
    lines = path.read_text().splitlines()
    assert lines[:2] == [
        "# yaml-language-server: $schema=study.schema.json",
        f"# Run: adamtune search configs/{path.name}",
    ]
    shipped = load_study(path)
    assert (shipped.name, shipped.storage) == (path.stem, "runs/adamtune.db")
    assert shipped.space.searched
    assert parse_study(shipped.text, "kept") == shipped
    assert StudyConfig.from_canonical(json.loads(json.dumps(shipped.canonical())), shipped.text) == shipped


def test_every_task_has_a_shipped_study():
    assert {load_study(path).task.name for path in CONFIGS.glob("*.yaml")} == set(TASKS)
