"""Every rule of the catalog against torch.optim in float64: parameters and state, step by step."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from adamtune.engines.population import update, update_in_c
from adamtune.engines.population.coefficients import optimizer_coefficients, pack, schedule_factors, terms
from adamtune.engines.population.update_blocks import update_blocks_
from adamtune.engines.population.update_state import NO_STATE, State, grow_state
from adamtune.optimizers.registry import OPTIMIZERS, build
from adamtune.schedules.registry import SCHEDULES, lr_factors

from ..examples import variants

STEPS, N = 25, 7  # RAdam rectifies from step 6 on
MEMBERS = [(name, each) for name, entry in OPTIMIZERS.items() for each in variants(entry)]
SCHEDULE = ("cosine", {**SCHEDULES["cosine"].defaults, "warmup_fraction": 0.2})


class Problem(NamedTuple):
    """A noisy bowl: the gradient at step t is ``curvature * x + noise[t]``."""

    start: Tensor
    curvature: Tensor
    noise: Tensor


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    """torch keeps NAdam's product and the step in the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def problem() -> Problem:
    """Gradients of very different sizes: small ones reach eps, and the upper bound of AdaBound."""
    torch.manual_seed(3)
    size = torch.logspace(-7, 1, N)
    return Problem(torch.randn(N), size * (torch.rand(N) + 0.1), size * torch.randn(STEPS, N))


def through_torch(
    name: str, hyperparameters: dict[str, float], problem: Problem
) -> tuple[Tensor, dict[str, Any]]:
    x = problem.start.clone().requires_grad_()
    optimizer = build(name, [x], hyperparameters)
    for noise, factor in zip(problem.noise, lr_factors(*SCHEDULE, STEPS), strict=True):
        x.grad = problem.curvature * x.detach() + noise
        optimizer.param_groups[0]["lr"] = hyperparameters["lr"] * factor
        optimizer.step()
    return x.detach(), optimizer.state[x]


Update = Callable[..., None]


def through_population(
    members: list[tuple[str, dict[str, float]]],
    problem: Problem,
    take_step: Update = update.update_,
    spoil: tuple[int, float] | None = None,
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, State]:
    """``spoil``: a member and what its first gradient is, at step 3."""
    names, values = zip(*members, strict=True)
    step = torch.arange(1, STEPS + 1).unsqueeze(-1).expand(-1, len(members))
    total = torch.full((len(members),), STEPS)
    schedule, settings = SCHEDULE
    factors = schedule_factors([schedule] * len(members), [settings] * len(members), step - 1, total)
    lr = torch.tensor([each["lr"] for each in values]) * factors
    coefficients = optimizer_coefficients(names, values, step, lr)
    needed, packed = terms(coefficients), pack(coefficients, dtype)
    x = problem.start.to(dtype).repeat(len(members), 1)
    state = grow_state(NO_STATE, x, needed)
    for t, now in enumerate(packed):
        gradient = problem.curvature.to(dtype) * x + problem.noise[t].to(dtype)
        if spoil and t == 2:
            gradient[spoil[0], 0] = spoil[1]
        take_step(x, gradient, state, now, needed)
    if state.max_exp_avg_sq is not None:
        state.max_exp_avg_sq[coefficients.max_decay[-1] == 0] = 0  # not kept
    return x, state


@pytest.mark.parametrize("take_step", [update.update_, update_blocks_])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_equals_torch(name: str, take_step: Update, problem: Problem) -> None:
    members = [each for each in MEMBERS if each[0] == name]
    x, state = through_population(members, problem, take_step)
    changes = x - problem.start
    for row, (_, hyperparameters) in enumerate(members):
        expected, torch_state = through_torch(name, hyperparameters, problem)
        change = expected - problem.start
        assert change.abs().min() > 0
        torch.testing.assert_close(
            changes[row], change, rtol=1e-9, atol=1e-13, msg=lambda m: f"{m}\n{members}"
        )
        for theirs, ours in OPTIMIZERS[name].state.items():
            if torch_state.get(theirs) is not None:
                torch.testing.assert_close(
                    getattr(state, ours)[row], torch_state[theirs], rtol=1e-9, atol=1e-13
                )


def test_members_differ(problem: Problem) -> None:
    x, _ = through_population(MEMBERS, problem)
    different = {tuple(row) for row in x.tolist()}
    # a few variants are one rule under two names: amsgrad is adamw's switch without any decay
    assert len(different) > 0.9 * len(MEMBERS)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_all_of_the_state_is_compared(name: str, problem: Problem) -> None:
    compared = set()
    for each in variants(OPTIMIZERS[name]):
        state = through_torch(name, each, problem)[1]
        kept = {key for key, value in state.items() if getattr(value, "shape", None) == problem.start.shape}
        assert kept <= OPTIMIZERS[name].state.keys()
        compared |= kept
    assert compared


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("take_step", [update.update_, update_blocks_])
def test_a_member_does_not_depend_on_its_neighbours(
    take_step: Update, dtype: torch.dtype, problem: Problem
) -> None:
    together, _ = through_population(MEMBERS, problem, take_step, dtype=dtype)
    order = list(range(len(MEMBERS)))
    random.Random(0).shuffle(order)
    permuted, _ = through_population([MEMBERS[i] for i in order], problem, take_step, dtype=dtype)
    assert torch.equal(permuted, together[order])
    for row, member in enumerate(MEMBERS):
        alone, _ = through_population([member], problem, take_step, dtype=dtype)
        assert torch.equal(alone[0], together[row]), member


@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
@pytest.mark.parametrize("take_step", [update.update_, update_blocks_])
def test_a_diverging_member_leaves_its_neighbours_alone(
    take_step: Update, poison: float, problem: Problem
) -> None:
    clean, clean_state = through_population(MEMBERS, problem, take_step)
    for victim in (0, len(MEMBERS) // 2, len(MEMBERS) - 1):
        x, state = through_population(MEMBERS, problem, take_step, spoil=(victim, poison))
        others = [row for row in range(len(MEMBERS)) if row != victim]
        assert not torch.equal(x[victim], clean[victim])
        for ours, theirs in zip((x, *state), (clean, *clean_state), strict=True):
            assert torch.equal(ours[others], theirs[others])


@pytest.mark.skipif(update_in_c.c_functions() is None, reason="no C compiler here")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_c_pass_equals_the_torch_pass_to_the_last_bit(dtype: torch.dtype, problem: Problem) -> None:
    x, state = through_population(MEMBERS, problem, update.update_, dtype=dtype)
    y, other = through_population(MEMBERS, problem, update_blocks_, dtype=dtype)
    assert torch.equal(x, y)
    for ours, theirs in zip(state, other, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_coefficients_are_float64_whatever_the_default(name: str) -> None:
    double = coefficients_of(name, [1, 2, 6, 100])
    torch.set_default_dtype(torch.float32)
    for ours, theirs in zip(coefficients_of(name, [1, 2, 6, 100]), double, strict=True):
        assert ours.dtype == torch.float64
        assert torch.equal(ours, theirs)


def first_step(name: str, x: float, gradient: float, lr: float) -> tuple[float, State]:
    hyperparameters = OPTIMIZERS[name].defaults | {"lr": lr}
    coefficients = optimizer_coefficients(
        [name], [hyperparameters], torch.tensor([[1]]), torch.tensor([[lr]])
    )
    parameters = torch.tensor([[x]])
    state = grow_state(NO_STATE, parameters, terms(coefficients))
    packed = pack(coefficients, torch.float64)[0]
    update.update_(parameters, torch.tensor([[gradient]]), state, packed, terms(coefficients))
    return parameters.item(), state


def test_worked_example_of_one_step() -> None:
    x, state = first_step("adam", 1.0, 0.5, 0.1)
    assert x == pytest.approx(1 - 0.1 * 0.5 / (0.5 + 1e-8), rel=1e-14)
    assert x == pytest.approx(0.900000002, rel=1e-12)
    assert (state.exp_avg.item(), state.exp_avg_sq.item()) == pytest.approx((0.05, 0.00025), rel=1e-12)


def test_worked_example_of_a_quartic() -> None:
    x, state = first_step("adam", 4.0, 4 * 4.0**3, 0.1)
    assert (state.exp_avg.item(), state.exp_avg_sq.item()) == pytest.approx((25.6, 65.536), rel=1e-12)
    assert x == pytest.approx(3.9, rel=1e-10)


@pytest.mark.parametrize("gradient", [1e-9, -1e-4, 1.0, -1e6])
def test_the_first_adam_take_stephas_length_lr(gradient: float) -> None:
    x, _ = first_step("adam", 0.0, gradient, 1e-3)
    assert abs(x) == pytest.approx(1e-3 * abs(gradient) / (abs(gradient) + 1e-8), rel=1e-9)


def coefficients_of(name: str, steps: list[int]) -> Any:
    step = torch.tensor(steps).unsqueeze(-1)
    return optimizer_coefficients(
        [name], [OPTIMIZERS[name].defaults], step, torch.full(step.shape, 1e-3, dtype=torch.float64)
    )


def test_bias_correction_still_matters_at_take_step1000() -> None:
    correction = coefficients_of("adam", [100, 1000]).root.squeeze(-1) ** -2
    torch.testing.assert_close(correction, torch.tensor([0.0952, 1 - 0.3677]), rtol=0, atol=5e-5)


def test_radam_rectifies_from_take_stepsix() -> None:
    assert coefficients_of("radam", [1, 5, 6, 7]).root.squeeze(-1).tolist() == [0, 0, 1, 1]


def test_nadam_needs_no_steps_before() -> None:
    """Its product of momenta comes from the step alone, also past the end of its table."""
    every = coefficients_of("nadam", list(range(1, 2001)))
    some = coefficients_of("nadam", [7, 1999])
    assert torch.equal(every.from_gradient[[6, 1998]], some.from_gradient)
    far = coefficients_of("nadam", [10**7])
    mu = 0.9 * (1 - 0.5 * 0.96 ** (1e7 * 4e-3))
    assert far.from_gradient.item() == pytest.approx(1e-3 * (1 - mu), rel=1e-14)
