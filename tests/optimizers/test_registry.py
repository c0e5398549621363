"""The optimizers' descriptors, and what is built from them for one member."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from adamtune.optimizers.registry import OPTIMIZERS, arguments, build, optimizer_class
from adamtune.schedules.registry import SCHEDULES


def test_names_of_hyperparameters_never_clash() -> None:
    """One flat dict holds those of an optimizer and of a schedule."""
    of_optimizers = {each.name for entry in OPTIMIZERS.values() for each in entry.hyperparameters}
    of_schedules = {each.name for entry in SCHEDULES.values() for each in entry.hyperparameters}
    assert not of_optimizers & of_schedules
    assert not {"optimizer", "schedule"} & (of_optimizers | of_schedules)


@pytest.mark.parametrize("name", [*OPTIMIZERS, *SCHEDULES])
def test_defaults_are_legal(name: str) -> None:
    for each in ({**OPTIMIZERS, **SCHEDULES})[name].hyperparameters:
        assert each.allows(each.default), each


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_defaults_are_those_of_the_torch_class(name: str) -> None:
    entry = OPTIMIZERS[name]
    built = build(name, [torch.zeros(2, requires_grad=True)], entry.defaults)
    plain = optimizer_class(name)([torch.zeros(2)], **entry.constants)
    for key in arguments(name, entry.defaults):
        assert built.param_groups[0][key] == plain.param_groups[0][key], key


@pytest.mark.parametrize("values", [{"momentum": 0.0, "dampening": 0.0}, {"momentum": 0.9, "dampening": 0.5}])
def test_nesterov_needs_momentum_and_no_dampening(values: dict[str, float]) -> None:
    hyperparameters = {**OPTIMIZERS["sgd"].defaults, "nesterov": True, **values}
    message = f"momentum={values['momentum']:g}, dampening={values['dampening']:g}"
    with pytest.raises(ValueError, match=message):
        OPTIMIZERS["sgd"].check(hyperparameters)
    with pytest.raises(ValueError, match=message):
        build("sgd", [torch.zeros(1)], hyperparameters)


def test_legal_combinations_pass() -> None:
    OPTIMIZERS["sgd"].check({"nesterov": True, "momentum": 0.9})
    for entry in OPTIMIZERS.values():
        entry.check(entry.defaults)


def test_registries_need_no_torch() -> None:
    modules = "adamtune.optimizers.registry, adamtune.schedules.registry, adamtune.reports.as_code"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
