"""Adam without bias correction against its formula, one scalar at a time."""

from __future__ import annotations

import math
import pickle

import pytest
import torch

from adamtune.optimizers.adam_uncorrected import AdamUncorrected

GRADIENTS = [0.3, -0.7, 1e-5, 40.0, 0.2, -3.0]


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_equals_the_formula(weight_decay: float) -> None:
    parameter = torch.tensor([1.5], dtype=torch.float64, requires_grad=True)
    optimizer = AdamUncorrected([parameter], 0.02, (0.8, 0.95), 1e-6, weight_decay)
    x, m, v = 1.5, 0.0, 0.0
    for gradient in GRADIENTS:
        g = gradient + weight_decay * x
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g * g
        x -= 0.02 * m / (math.sqrt(v) + 1e-6)
        parameter.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        assert parameter.item() - 1.5 == pytest.approx(x - 1.5, rel=1e-10)


def test_the_first_step_is_too_large_by_what_the_correction_would_take_away() -> None:
    parameter = torch.zeros(1, requires_grad=True)
    parameter.grad = torch.ones(1)
    AdamUncorrected([parameter], lr=1e-3).step()
    assert parameter.item() == pytest.approx(-1e-3 * 0.1 / math.sqrt(0.001), rel=1e-5)


def test_the_state_can_be_saved() -> None:
    parameter = torch.ones(3, requires_grad=True)
    optimizer = AdamUncorrected([parameter])
    parameter.grad = torch.ones(3)
    optimizer.step()
    assert pickle.loads(pickle.dumps(optimizer)).state_dict()["param_groups"][0]["lr"] == 1e-3


def test_illegal_values_are_refused() -> None:
    with pytest.raises(ValueError, match="lr must be at least 0"):
        AdamUncorrected([torch.zeros(1)], lr=-1.0)
