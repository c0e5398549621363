"""What is built for one member, and which hyperparameters do not go together."""

from __future__ import annotations

import pytest
import torch

from adamtune.optimizers.arguments import CLASSES, arguments
from adamtune.optimizers.as_code import PROPER
from adamtune.optimizers.catalog import OPTIMIZERS, SCHEDULES
from adamtune.optimizers.legality import check
from adamtune.optimizers.population import rule, schedule
from adamtune.optimizers.torch_optimizers import build, optimizer_class


def test_everything_in_the_catalog_is_there() -> None:
    assert set(CLASSES) == set(OPTIMIZERS)
    assert set(PROPER) == set(SCHEDULES)
    assert all(callable(rule(name)) for name in OPTIMIZERS)
    assert all(callable(schedule(name)) for name in SCHEDULES)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_defaults_are_torchs(name: str) -> None:
    """AdaBound's are its own class's."""
    built = build(name, [torch.zeros(2, requires_grad=True)], OPTIMIZERS[name].defaults)
    plain = optimizer_class(name)([torch.zeros(2)], **({"amsgrad": True} if name == "amsgrad" else {}))
    for key in arguments(name, OPTIMIZERS[name].defaults):
        assert built.param_groups[0][key] == plain.param_groups[0][key], key


@pytest.mark.parametrize("values", [{"momentum": 0.0, "dampening": 0.0}, {"momentum": 0.9, "dampening": 0.5}])
def test_nesterov_wants_momentum_and_no_dampening(values: dict[str, float]) -> None:
    hyperparameters = {**OPTIMIZERS["sgd"].defaults, "nesterov": True, **values}
    message = f"momentum={values['momentum']:g}, dampening={values['dampening']:g}"
    with pytest.raises(ValueError, match=message):
        check("sgd", hyperparameters)
    with pytest.raises(ValueError, match=message):
        build("sgd", [torch.zeros(1)], hyperparameters)


def test_what_goes_together_passes() -> None:
    check("sgd", {"nesterov": True, "momentum": 0.9})
    check("adam", OPTIMIZERS["adam"].defaults)


def test_an_unknown_name_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="adamm"):
        rule("adamm")
