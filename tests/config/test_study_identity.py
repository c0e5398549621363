"""Canonical form, hash and differences: which changes of a file change the meaning of its trials."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamtune.catalog import Entry, Hyperparameter
from adamtune.config import Difference, StudyConfig, differences, parse_study
from adamtune.errors import AdamtuneError
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.schedules.registry import SCHEDULES

BASE: dict[str, Any] = {
    "name": "x",
    "task": {"name": "cnn", "epochs": 3},
    "optimizer": "adamw",
    "space": {"lr": {"low": 1e-4, "high": 1e-1, "log": True}, "schedule": {"name": ["constant", "cosine"]}},
    "search": {"trials": 8, "timeout": "5m", "seed": 0},
}


def read(file: Mapping[str, Any]) -> StudyConfig:
    return parse_study(json.dumps(file), "x.yaml")


def changed(path: str, value: object) -> StudyConfig:
    file = json.loads(json.dumps(BASE))
    holder = file
    *sections, key = path.split(".")
    for section in sections:
        holder = holder.setdefault(section, {})
    holder[key] = value
    return read(file)


def within(form: Hyperparameter) -> st.SearchStrategy[Any]:
    if form.kind is bool:
        return st.booleans()
    high = min(form.high, 1e6)
    if form.kind is int:
        return st.integers(int(form.low), int(high))
    open_high = form.open_high and high == form.high
    low = max(form.low, 1e-45) if form.open_low else form.low  # the least number above 0 in float32
    return st.floats(low, high, exclude_max=open_high)


@st.composite
def written(draw: st.DrawFn, form: Hyperparameter) -> object:
    values = draw(st.lists(within(form), min_size=1, max_size=3, unique_by=lambda value: value + 0.0))
    if len(values) == 2 and form.kind is not bool:
        low, high = sorted(values)
        return {"low": low, "high": high, "log": low > 0 and draw(st.booleans())}
    return values[0] if len(values) == 1 and draw(st.booleans()) else values


@st.composite
def hyperparameters(draw: st.DrawFn, entry: Entry) -> dict[str, object]:
    forms = [each for each in entry.forms.values() if each.name != "nesterov"]
    chosen = draw(st.lists(st.sampled_from(forms), max_size=4, unique_by=lambda form: form.name[-5:]))
    return {form.name: draw(written(form)) for form in chosen}


@st.composite
def files(draw: st.DrawFn) -> dict[str, Any]:
    optimizer = draw(st.sampled_from(sorted(OPTIMIZERS)))
    schedule = draw(st.sampled_from(sorted(SCHEDULES)))
    space = draw(hyperparameters(OPTIMIZERS[optimizer]))
    detailed = {"name": schedule, **draw(hyperparameters(SCHEDULES[schedule]))}
    return {"name": "x", "task": "mlp", "optimizer": optimizer, "space": {**space, "schedule": detailed}}


@given(files())
def test_any_study_comes_back_from_its_canonical_form(file: dict[str, Any]):
    study = read(file)
    again = StudyConfig.from_canonical(json.loads(json.dumps(study.canonical())), study.text)
    assert again == study
    assert again.hash == study.hash
    assert differences(study, again) == []


def as_list(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else [value]


@given(files())
def test_what_is_written_is_what_is_read(file: dict[str, Any]):
    study = read(file)
    for _, path, each in study.space.distributions():
        section = file["space"]["schedule"] if "schedule" in path else file["space"]
        if path[-1] in section:
            assert as_list(each.file_value()) == as_list(section[path[-1]])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", "y"),
        ("storage", "y.db"),
        ("search.trials", 99),
        ("search.timeout", "9h"),
        ("search.timeout", None),
    ],
)
def test_what_may_change(path: str, value: object):
    assert changed(path, value) != read(BASE)
    assert changed(path, value).hash == read(BASE).hash
    assert differences(read(BASE), changed(path, value)) == []


SPAN = {"low": 1e-4, "high": 1e-1, "log": True}


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("task.epochs", 4, [("task.epochs", 3, 4)]),
        ("optimizer", ["adamw", "adam"], [("optimizer", ["adamw"], ["adamw", "adam"])]),
        ("space.lr", 1e-3, [("space.lr", SPAN, 1e-3)]),
        ("space.lr", {**SPAN, "high": 1.0}, [("space.lr", SPAN, {**SPAN, "high": 1.0})]),
        ("space.beta1", 0.8, [("space.beta1", 0.9, 0.8)]),
        ("space.clip_norm", 0.5, [("space.clip_norm", None, 0.5)]),
        ("space.clip_norm", ["none", 1.0], [("space.clip_norm", None, ("none", 1.0))]),
        ("space.schedule.warmup_fraction", 0.1, [("space.schedule.warmup_fraction", 0.0, 0.1)]),
        ("space.schedule.name", "cosine", [("space.schedule.name", ["constant", "cosine"], ["cosine"])]),
        ("search.seed", 1, [("search.seed", 0, 1)]),
        ("search.seeds", 2, [("search.seeds", 1, 2)]),
        ("search.sampler", "qmc", [("search.sampler", "tpe", "qmc")]),
        ("search.pruner", "asha", [("search.pruner", "none", "asha")]),
        ("engine", "sequential", [("engine", "auto", "sequential")]),
        ("population", 8, [("population", "auto", 8)]),
        ("device", "cpu", [("device", "auto", "cpu")]),
        ("weight_decay_on", "matrices", [("weight_decay_on", "all", "matrices")]),
        ("accumulate", 4, [("accumulate", 1, 4)]),
        (
            "objective.metric",
            "val_accuracy",
            [
                ("objective.metric", "val_loss", "val_accuracy"),
                ("objective.direction", "minimize", "maximize"),
            ],
        ),
        (
            "space.task",
            {"hidden": [32, 64]},
            [("task.hidden", 64, None), ("space.task.hidden", None, (32, 64))],
        ),
        (
            "space.one_minus_beta1",
            [0.1, 0.2],
            [("space.beta1", 0.9, None), ("space.one_minus_beta1", None, (0.1, 0.2))],
        ),
        ("task", "cnn", [("task.epochs", 3, 10)]),
    ],
)
def test_what_changes_the_trials(path: str, value: object, expected: list[tuple[str, object, object]]):
    assert changed(path, value).hash != read(BASE).hash
    assert differences(read(BASE), changed(path, value)) == [Difference(*each) for each in expected]


def test_a_difference_reads_as_the_file_does():
    (difference,) = differences(read(BASE), changed("space.lr", 1e-3))
    assert str(difference) == "space.lr: {low: 0.0001, high: 0.1, log: true} -> 0.001"


def test_long_values_differ_though_they_are_shown_shortened():
    long = [n / 1000 for n in range(1, 60)]
    (difference,) = differences(changed("space.lr", long), changed("space.lr", [*long, 0.9]))
    assert difference.path == "space.lr"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("space.clip_norm", "none"),
        ("space.clip_norm", ["none"]),
        ("weight_decay_on", "all"),
        ("accumulate", 1),
    ],
)
def test_a_written_default_changes_nothing(path: str, value: object):
    assert changed(path, value).hash == read(BASE).hash
    assert changed(path, value).canonical() == read(BASE).canonical()


def test_comments_and_the_order_of_keys_do_not_matter():
    plain = parse_study("name: x\ntask: mlp\nspace: {lr: 1e-3, eps: 1e-8}\n", "a.yaml")
    other = parse_study("# why\ntask: {name: mlp}\nspace: {eps: 1e-8, lr: [0.001]}\nname: x\n", "b.yaml")
    assert plain.hash == other.hash
    assert plain.canonical() == other.canonical()


def test_the_hash_is_the_same_in_every_process():
    kept = {
        "name": "x",
        "storage": "runs/adamtune.db",
        "engine": "auto",
        "population": "auto",
        "device": "auto",
        "task": {"name": "mlp", "settings": {"epochs": 2, "hidden": [64]}},
        "space": {
            "optimizers": {"sgd": {"lr": {"low": 0.1, "high": 1.0, "log": True, "integer": False}}},
            "schedules": {"constant": {"warmup_fraction": {"value": 0.0}}},
            "task": {"batch_size": {"values": [8, 16]}},
        },
        "search": {"trials": 1, "timeout": None, "sampler": "tpe", "pruner": "none", "seeds": 1, "seed": 0},
        "objective": {"metric": "val_loss", "direction": "minimize"},
    }
    study = StudyConfig.from_canonical(kept)
    later = {"trial_timeout": None, "max_failures": 10, "keep_curves": "all"}
    later |= {"start": "default", "confirm": "auto", "ablate": "auto"}
    added = {
        "workers": "auto",
        "cluster": "none",
        "cpus": "auto",
        "gpus": 0.0,
        "deterministic": "auto",
        "baseline": "default",
        "precision": "float32",
        "weight_decay_on": "all",
        "accumulate": 1,
        "space": {**kept["space"], "training": {}},
        "search": {**kept["search"], **later},
    }
    assert study.canonical() == {**kept, **added}
    assert study.hash == "6252634042997220a024abd48096bfdf33c9030cb703ba160e3e7be4d74124b8"


def test_a_canonical_form_of_another_version():
    canonical = {**read(BASE).canonical(), "colour": "red"}
    with pytest.raises(AdamtuneError, match="kept by another version of adamtune: cannot read colour"):
        StudyConfig.from_canonical(canonical)
