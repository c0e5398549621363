"""The code that people paste: it runs, and it is what was trained."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from torch import nn

from adamtune.optimizers.base import BETA2, LR
from adamtune.optimizers.registry import OPTIMIZERS, arguments, optimizer_class
from adamtune.reports.as_code import render, round_value
from adamtune.schedules.registry import SCHEDULES, lr_factors

from ..examples import variants


def settings_of(
    optimizer: str, hyperparameters: dict[str, float], schedule: str, others: dict[str, float]
) -> dict[str, Any]:
    return {"optimizer": optimizer, **hyperparameters, "schedule": schedule, **others}


def pasted(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {"model": nn.Linear(3, 1)}
    exec(code, names)
    return names


def lrs_of(names: dict[str, Any], total: int) -> list[float]:
    optimizer, lrs = names["optimizer"], []
    for step in range(total):
        lrs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if "scheduler" in names and step < total - 1:
            names["scheduler"].step()
    return lrs


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_optimizer_is_the_one_that_was_trained(name: str) -> None:
    for hyperparameters in variants(OPTIMIZERS[name]):
        code = render(settings_of(name, hyperparameters, "constant", SCHEDULES["constant"].defaults), 100)
        optimizer = pasted(code)["optimizer"]
        assert type(optimizer) is optimizer_class(name)
        group = optimizer.param_groups[0]
        assert {key: group[key] for key in arguments(name, hyperparameters)} == arguments(
            name, hyperparameters
        )


@pytest.mark.parametrize("total", [1, 10, 57])
@pytest.mark.parametrize("name", SCHEDULES)
def test_the_scheduler_gives_the_lr_that_was_trained_with(name: str, total: int) -> None:
    adam = {**OPTIMIZERS["adam"].defaults, "lr": 0.00321}
    for others in variants(SCHEDULES[name]):
        code = render(settings_of("adam", adam, name, others), total)
        expected = [0.00321 * factor for factor in lr_factors(name, others, total)]
        assert lrs_of(pasted(code), total) == pytest.approx(expected, rel=2e-3, abs=1e-12), code


def test_it_reads_well() -> None:
    hyperparameters = {**OPTIMIZERS["adamw"].defaults, "lr": 0.00123456, "beta2": 0.9998712345}
    others = {"warmup_fraction": 0.1, "final_fraction": 0.0}
    assert (
        render(settings_of("adamw", hyperparameters, "cosine", others), 230)
        == """\
import torch
from torch.optim import lr_scheduler

optimizer = torch.optim.AdamW(
    model.parameters(),
    lr=0.001235,
    betas=(0.9, 0.9998712),
    eps=1e-8,
    weight_decay=0.01,
    amsgrad=False,
)
# call scheduler.step() after every optimizer.step()
scheduler = lr_scheduler.SequentialLR(
    optimizer,
    [
        lr_scheduler.LinearLR(optimizer, start_factor=1 / 23, total_iters=22),
        lr_scheduler.CosineAnnealingLR(optimizer, T_max=207),
    ],
    milestones=[23],
)
"""
    )


def test_a_constant_lr_needs_no_scheduler() -> None:
    sgd = settings_of("sgd", OPTIMIZERS["sgd"].defaults, "constant", SCHEDULES["constant"].defaults)
    assert "scheduler" not in render(sgd, 100)


@pytest.mark.parametrize("final", [0.0, 1e-3])
def test_one_cycle_ends_where_it_says(final: float) -> None:
    others = {**SCHEDULES["one_cycle"].defaults, "final_fraction": final, "peak_fraction": 0.1}
    code = render(settings_of("adam", OPTIMIZERS["adam"].defaults, "one_cycle", others), 10)
    assert lrs_of(pasted(code), 10)[-1] == pytest.approx(1e-3 * final, abs=1e-15)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.99987123, 0.9998712), (0.9, 0.9), (0.3000049, 0.3), (0.999999999, 0.999999999), (0.0, 0.0)],
)
def test_a_decay_keeps_its_distance_from_one(value: float, expected: float) -> None:
    assert round_value(BETA2, value) == expected


def test_other_numbers_keep_four_digits() -> None:
    assert round_value(LR, 0.00123456) == 0.001235


def test_what_was_not_kept_had_its_default() -> None:
    """As with a study of an older version, which had fewer hyperparameters."""
    given = {"optimizer": "adamw", "schedule": "cosine"}
    assert render(given, 10) == render(
        given | OPTIMIZERS["adamw"].defaults | SCHEDULES["cosine"].defaults, 10
    )


def test_it_needs_no_torch() -> None:
    imports = "import sys, adamtune.reports.as_code"
    code = f"{imports}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
