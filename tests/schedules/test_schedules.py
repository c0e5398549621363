"""Every schedule against the torch scheduler of its own code in float64, and some against plain Python.

The registry drives the tests: a new schedule is tested without an edit here.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adamtune.engines.population.coefficients import schedule_factors
from adamtune.reports.as_code import EXACT, scheduler_code
from adamtune.schedules.registry import SCHEDULES, lr_factors

from ..examples import variants

LR = 0.37
TOTALS = [1, 2, 10, 57, 230]
Settings = Mapping[str, Any]


def torch_lrs(name: str, values: Settings, total: int, digits: int = EXACT) -> list[float]:
    """The learning rates that the code of a schedule gives, step by step."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
    code = scheduler_code(name, {**values, "lr": LR}, total, digits)
    names = {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler}
    scheduler = eval(code, names) if code else None
    lrs = []
    for step in range(total):
        lrs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if scheduler and step < total - 1:
            scheduler.step()
    return lrs


def at_the_pole(name: str, values: Settings, total: int) -> bool:
    """Where OneCycleLR would divide by zero, its code moves the peak a little."""
    return name == "one_cycle" and values["peak_fraction"] * total == 1


@pytest.mark.parametrize("name", SCHEDULES)
def test_equals_torch(name: str) -> None:
    compared = 0
    for values in variants(SCHEDULES[name]):
        for total in TOTALS:
            if at_the_pole(name, values, total):
                continue
            ours = [LR * factor for factor in lr_factors(name, values, total)]
            expected = torch_lrs(name, values, total)
            assert ours == pytest.approx(expected, rel=1e-9, abs=1e-12), (values, total)
            compared += 1
    assert compared > 15


@pytest.mark.parametrize("name", SCHEDULES)
@settings(max_examples=25)
@given(data=st.data())
def test_rounded_code_is_true_at_the_first_and_the_last_step(name: str, data: st.DataObject) -> None:
    total = data.draw(st.integers(1, 120))
    values = {
        each.name: data.draw(
            st.integers(int(each.low), int(min(each.high, 8)))
            if each.kind is int
            else st.floats(
                each.low, min(each.high, 8), exclude_min=each.open_low, exclude_max=each.open_high
            ).filter(lambda value: value == 0 or value > 1e-4)
        )
        for each in SCHEDULES[name].hyperparameters
    }
    if at_the_pole(name, values, total):
        return
    ours = [LR * factor for factor in lr_factors(name, values, total)]
    pasted = torch_lrs(name, values, total, digits=4)
    assert pasted[0] == pytest.approx(ours[0], rel=2e-3, abs=1e-9), values
    assert pasted[-1] == pytest.approx(ours[-1], rel=2e-2, abs=1e-4 * LR), values


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEDULES)
def test_code_is_true_at_every_length(name: str) -> None:
    for total in range(1, 1001):
        choices = variants(SCHEDULES[name])
        values = choices[total % len(choices)]
        if not at_the_pole(name, values, total):
            ours = [LR * factor for factor in lr_factors(name, values, total)]
            assert torch_lrs(name, values, total) == pytest.approx(ours, rel=1e-9, abs=1e-12), (values, total)


def inverse_sqrt(t: int, total: int, values: Settings) -> float:
    return 1 / math.sqrt(1 + t / (values["timescale_fraction"] * total))


def polynomial(t: int, total: int, values: Settings) -> float:
    final = values["final_fraction"]
    return float(final + (1 - final) * (1 - t / total) ** values["power"])


def wsd(t: int, total: int, values: Settings) -> float:
    decay = round(values["decay_fraction"] * total)
    final = values["final_fraction"]
    return 1.0 if t <= total - decay else 1 - (1 - final) * (t - total + decay) / decay


@pytest.mark.parametrize("formula", [inverse_sqrt, polynomial, wsd], ids=lambda each: each.__name__)
def test_formulas_that_torch_does_not_have(formula: Callable[[int, int, Settings], float]) -> None:
    """Their code is a formula, too: here they are written a third time."""
    name = formula.__name__
    for values in variants(SCHEDULES[name]):
        for total in TOTALS:
            warmup = round(values["warmup_fraction"] * total)
            rise = [(t + 1) / warmup for t in range(warmup)]
            proper = [formula(t, total - warmup, values) for t in range(total - warmup)]
            assert lr_factors(name, values, total) == pytest.approx(rise + proper, rel=1e-12), (values, total)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_factor_is_a_fraction(name: str) -> None:
    for values in variants(SCHEDULES[name]):
        for total in TOTALS:
            factors = lr_factors(name, values, total)
            assert len(factors) == total
            assert all(0 <= factor <= 1 for factor in factors), (values, total)
            if total >= 10:
                assert max(factors) > 0.7


def test_members_with_their_own_schedules_steps_and_totals() -> None:
    draw = random.Random(5)
    members = [(name, each) for name, entry in SCHEDULES.items() for each in variants(entry)]
    draw.shuffle(members)
    names, settings = zip(*members, strict=True)
    total = torch.tensor([draw.choice([40, 57, 400]) for _ in members])
    first = torch.tensor([draw.randrange(0, 30) for _ in members])
    step = first + torch.arange(10).unsqueeze(-1)
    factors = schedule_factors(names, settings, step, total)
    for column, (name, values) in enumerate(members):
        alone = lr_factors(name, values, int(total[column]))[first[column] : first[column] + 10]
        assert factors[:, column].tolist() == pytest.approx(alone, rel=1e-14)


def test_many_long_cycles_stay_finite() -> None:
    values = {**SCHEDULES["cosine_restarts"].defaults, "cycles": 1000, "cycle_growth": 10}
    assert lr_factors("cosine_restarts", values, 12) == pytest.approx(
        [1.0, 1.0, *[(1 + math.cos(math.pi * t / 10)) / 2 for t in range(1, 10)], 1.0]
    )


def test_one_cycle_starts_at_the_peak_where_it_has_no_rise() -> None:
    values = {**SCHEDULES["one_cycle"].defaults, "peak_fraction": 0.1}
    assert lr_factors("one_cycle", values, 10)[0] == 1


@pytest.mark.parametrize("peak", [0.090909, 0.09091, 1 / 11 - 1e-9])
def test_one_cycle_code_keeps_the_peak_on_its_side_of_the_first_step(peak: float) -> None:
    """Rounded to four digits, 0.090909 of 11 steps would be a peak after the first step."""
    values = {**SCHEDULES["one_cycle"].defaults, "peak_fraction": peak}
    pasted = torch_lrs("one_cycle", values, 11, digits=4)
    assert pasted[0] == pytest.approx(LR * lr_factors("one_cycle", values, 11)[0], rel=1e-3)
