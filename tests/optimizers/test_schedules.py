"""Every schedule against torch.optim.lr_scheduler in float64, and its closed form against plain Python."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch.optim import Optimizer, lr_scheduler

from adamtune.optimizers import population
from adamtune.optimizers.catalog import SCHEDULES
from adamtune.optimizers.torch_optimizers import lr_factors

from .examples import variants

LR = 0.37
TOTALS = [1, 2, 10, 57, 230]
Settings = Mapping[str, Any]


def _restarts(optimizer: Optimizer, h: Settings, total: int) -> Any:
    units = sum(h["cycle_growth"] ** k for k in range(h["cycles"]))
    final = h["final_fraction"] * LR
    first = math.ceil(total / units)
    return lr_scheduler.CosineAnnealingWarmRestarts(optimizer, first, h["cycle_growth"], eta_min=final)


def _one_cycle(optimizer: Optimizer, h: Settings, total: int) -> Any:
    first, last = h["initial_fraction"], h["final_fraction"]
    return lr_scheduler.OneCycleLR(
        optimizer,
        LR,
        total_steps=total,
        pct_start=h["peak_fraction"],
        div_factor=1 / first,
        final_div_factor=first / last,
        cycle_momentum=False,
    )


IN_TORCH: dict[str, Callable[[Optimizer, Settings, int], Any]] = {
    "constant": lambda o, h, total: lr_scheduler.ConstantLR(o, 1.0, total),
    "exponential": lambda o, h, total: lr_scheduler.ExponentialLR(o, h["final_fraction"] ** (1 / total)),
    "step": lambda o, h, total: lr_scheduler.StepLR(o, math.ceil(total / (h["drops"] + 1)), h["drop_factor"]),
    "cosine": lambda o, h, total: lr_scheduler.CosineAnnealingLR(o, total, eta_min=h["final_fraction"] * LR),
    "linear": lambda o, h, total: lr_scheduler.LinearLR(o, 1.0, h["final_fraction"], total),
    "polynomial": lambda o, h, total: lr_scheduler.PolynomialLR(o, total, h["power"]),
    "one_cycle": _one_cycle,
    "cosine_restarts": _restarts,
}


def torch_lrs(name: str, h: Settings, total: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
    warmup = round(h.get("warmup_fraction", 0) * total)
    scheduler = IN_TORCH[name](optimizer, h, max(total - warmup, 1))
    if warmup:
        rise = lr_scheduler.LinearLR(optimizer, 1 / warmup, 1.0, max(warmup - 1, 1))
        scheduler = lr_scheduler.SequentialLR(optimizer, [rise, scheduler], [warmup])
    lrs = []
    for step in range(total):
        lrs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < total - 1:
            scheduler.step()
    return lrs


@pytest.mark.parametrize("name", IN_TORCH)
def test_equals_torch(name: str) -> None:
    compared = 0
    for h in variants(SCHEDULES[name]):
        if name == "polynomial":
            h["final_fraction"] = 0  # torch's ends at 0
        for total in TOTALS:
            if name == "one_cycle" and h["peak_fraction"] * total == 1:
                continue  # torch divides by zero
            ours = [LR * factor for factor in lr_factors(name, h, total)]
            assert ours == pytest.approx(torch_lrs(name, h, total), rel=1e-9, abs=1e-12), (h, total)
            compared += 1
    assert compared > 20


def expected(name: str, t: int, total: int, h: Settings) -> float:
    """The schedules that torch does not have, for one step in plain Python."""
    final = h.get("final_fraction", 0)
    if name == "inverse_sqrt":
        return 1 / math.sqrt(1 + t / (h["timescale_fraction"] * total))
    if name == "polynomial":
        return final + (1 - final) * (1 - t / total) ** h["power"]
    assert name == "wsd"
    decay = round(h["decay_fraction"] * total)
    return 1.0 if t <= total - decay else 1 - (1 - final) * (t - total + decay) / decay


@pytest.mark.parametrize("name", ["inverse_sqrt", "polynomial", "wsd"])
def test_equals_its_formula_where_torch_has_none(name: str) -> None:
    for h in variants(SCHEDULES[name]):
        for total in TOTALS:
            warmup = round(h["warmup_fraction"] * total)
            rise = [(t + 1) / warmup for t in range(warmup)]
            proper = [expected(name, t, total - warmup, h) for t in range(total - warmup)]
            assert lr_factors(name, h, total) == pytest.approx(rise + proper, rel=1e-12), (h, total)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_factor_is_a_fraction(name: str) -> None:
    for h in variants(SCHEDULES[name]):
        for total in TOTALS:
            factors = lr_factors(name, h, total)
            assert len(factors) == total
            assert all(0 <= factor <= 1 for factor in factors), (h, total)
            if total >= 10:
                assert max(factors) > 0.7


def test_members_with_their_own_schedules_steps_and_totals() -> None:
    draw = random.Random(5)
    members = [(name, h) for name, entry in SCHEDULES.items() for h in variants(entry)]
    draw.shuffle(members)
    names, settings = zip(*members, strict=True)
    total = torch.tensor([draw.choice([40, 57, 400]) for _ in members])
    first = torch.tensor([draw.randrange(0, 30) for _ in members])
    step = first + torch.arange(10).unsqueeze(-1)
    factors = population.factors(names, settings, step, total)
    for column, (name, h) in enumerate(members):
        alone = lr_factors(name, h, int(total[column]))[first[column] : first[column] + 10]
        assert factors[:, column].tolist() == pytest.approx(alone, rel=1e-14)


def test_many_long_cycles_stay_finite() -> None:
    h = {**SCHEDULES["cosine_restarts"].defaults, "cycles": 1000, "cycle_growth": 10}
    assert lr_factors("cosine_restarts", h, 12) == pytest.approx(
        [1.0, 1.0, *[(1 + math.cos(math.pi * t / 10)) / 2 for t in range(1, 10)], 1.0]
    )


def test_the_first_step_is_the_peak_where_one_cycle_has_no_rise() -> None:
    h = {**SCHEDULES["one_cycle"].defaults, "peak_fraction": 0.1}
    assert lr_factors("one_cycle", h, 10)[0] == 1
