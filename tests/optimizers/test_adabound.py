"""AdaBound against the paper's algorithm, one scalar at a time."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import ExponentialLR

from adamtune.optimizers.adabound import AdaBound

GRADIENTS = [0.3, -0.7, 1e-5, 40.0, 0.2, -3.0, 1e-3, 0.5, -0.5, 2.0]


def by_hand(x: float, lrs: list[float], betas: tuple[float, float], **options: float) -> list[float]:
    """Algorithm 2 of the paper with the bias correction of the authors' code; x after every step."""
    beta1, beta2 = betas
    m = v = 0.0
    trace = []
    for t, (gradient, lr) in enumerate(zip(GRADIENTS, lrs, strict=True), start=1):
        g = gradient + options["weight_decay"] * x
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        final, gamma = options["final_lr"] * lr / lrs[0], options["gamma"]
        lower, upper = final * (1 - 1 / (gamma * t + 1)), final * (1 + 1 / (gamma * t))
        size = lr * math.sqrt(1 - beta2**t) / (1 - beta1**t) / (math.sqrt(v) + options["eps"])
        x -= min(max(size, lower), upper) * m
        trace.append(x)
    return trace


def through_torch(x: float, decay_of_lr: float, **options: Any) -> list[float]:
    parameter = torch.tensor([x], dtype=torch.float64, requires_grad=True)
    optimizer = AdaBound([parameter], **options)
    schedule = ExponentialLR(optimizer, decay_of_lr)
    trace = []
    for gradient in GRADIENTS:
        parameter.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        schedule.step()
        trace.append(parameter.item())
    return trace


@pytest.mark.parametrize("decay_of_lr", [1.0, 0.8])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize(("final_lr", "gamma"), [(0.1, 1e-3), (0.5, 1.0), (0.01, 0.3)])
def test_equals_the_paper(decay_of_lr: float, weight_decay: float, final_lr: float, gamma: float) -> None:
    options = {"final_lr": final_lr, "gamma": gamma, "eps": 1e-6, "weight_decay": weight_decay}
    trace = through_torch(1.5, decay_of_lr, lr=0.02, betas=(0.8, 0.95), **options)
    lrs = [0.02 * decay_of_lr**t for t in range(len(GRADIENTS))]
    expected = by_hand(1.5, lrs, (0.8, 0.95), **options)
    changes = [x - 1.5 for x in trace]
    assert changes == pytest.approx([x - 1.5 for x in expected], rel=1e-10)


def test_both_bounds_are_met() -> None:
    """gamma so large that both bounds are final_lr: SGD with momentum."""
    trace = through_torch(0.0, 1.0, lr=0.02, betas=(0.0, 0.9), final_lr=0.25, gamma=1e12)
    steps = [-0.25 * gradient for gradient in GRADIENTS]
    assert trace == pytest.approx([sum(steps[: t + 1]) for t in range(len(steps))], rel=1e-9)


def test_state_and_scaling_survive_saving() -> None:
    parameter = torch.ones(3, dtype=torch.float64, requires_grad=True)
    optimizer = AdaBound([parameter], lr=0.1, gamma=1.0)
    for group in optimizer.param_groups:
        group["lr"] = 0.01
    copy = torch.ones(3, dtype=torch.float64, requires_grad=True)
    restored = AdaBound([copy], lr=0.01, gamma=1.0)
    for step in range(4):
        for each, x in ((optimizer, parameter), (restored, copy)):
            x.grad = torch.full_like(x, 0.5)
            if each is optimizer or step >= 2:
                each.step()
        if step == 1:
            restored.load_state_dict(pickle.loads(pickle.dumps(optimizer.state_dict())))
            copy.data.copy_(parameter.data)
    assert torch.equal(parameter, copy)
    assert not torch.equal(parameter, torch.ones(3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0.0}, "lr must be above 0, got 0.0"),
        ({"final_lr": -1.0}, "final_lr must be above 0, got -1.0"),
        ({"gamma": 0.0}, "gamma must be above 0"),
        ({"eps": -1e-8}, "eps must be at least 0"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0"),
        ({"betas": (0.9, 1.0)}, r"betas must lie in \[0, 1\)"),
    ],
)
def test_illegal_values_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AdaBound([torch.zeros(1)], **options)


def test_step_returns_the_closures_loss() -> None:
    x = torch.ones(1, requires_grad=True)
    optimizer = AdaBound([x])

    def closure() -> float:
        loss = (x * x).sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 1.0
    assert x.item() < 1
