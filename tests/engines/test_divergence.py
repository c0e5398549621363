"""A member whose loss is not finite leaves the engine and does not change the other members."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor

from adamtune.engines.base import Evaluation, Member, diverged_at
from adamtune.engines.plan import make_plan
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.tasks.base import Model
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.registry import TASKS

from .models import FEATURES, Toy
from .training import Make, advance, alone, assert_close, curve, finish, member, population, sequential, some

HUGE = {"sgd": 1e200, "adam": 1e300}
"""Learning rates with which a training in float64 diverges."""


def exploding(task: LoadedTask, trial: int, optimizer: str = "sgd") -> Member:
    return member(task, trial, optimizer, lr=HUGE[optimizer])


@pytest.mark.parametrize("optimizer", HUGE)
@pytest.mark.parametrize("name", TASKS)
def test_a_diverging_member_does_not_change_the_others(
    name: str, optimizer: str, tasks: Mapping[str, LoadedTask]
) -> None:
    task = tasks[name]
    calm = some(task, 3)
    wild = exploding(task, 9, optimizer)
    expected = finish(population(4), calm)
    for members in ([wild, *calm], [calm[0], wild, *calm[1:]], [*calm, wild]):
        found = finish(population(4), members)
        assert found[wild][-1].diverged_at is not None
        for each in calm:
            assert_close(curve(found[each]), curve(expected[each]))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_diverging_member_does_not_change_the_others_in_float32(optimizer: str, mlp: LoadedTask) -> None:
    calm = some(mlp, 3)
    wild = member(mlp, 9, optimizer, lr=1e30)
    found = finish(population(4, dtype=torch.float32), [calm[0], wild, *calm[1:]])
    expected = finish(population(4, dtype=torch.float32), calm)
    assert found[wild][-1].diverged_at is not None
    for each in calm:
        assert_close(curve(found[each]), curve(expected[each]), tolerance=1e-4)


BEYOND_FLOAT32: list[tuple[str, dict[str, float]]] = [
    (each.name, changed)
    for each in OPTIMIZERS.values()
    for changed in (
        {"lr": 3e38},
        {"lr": 1e39},
        {"lr": 1e300},
        {"weight_decay": 1e39},
        {"weight_decay": 1e300},
        {"lr": 1e30, "weight_decay": 1e30},
        {"lr": 1e300, "weight_decay": 1e300},
        {"final_lr": 1e39},
        {"eps": 1e300},
    )
    if changed.keys() <= each.defaults.keys()
]


@pytest.mark.parametrize(("optimizer", "changed"), BEYOND_FLOAT32)
def test_engines_agree_on_numbers_beyond_float32(
    optimizer: str, changed: dict[str, float], mlp: LoadedTask
) -> None:
    """A rule that computes with such a number diverges; one whose update it makes zero does not."""
    extreme = member(mlp, 0, optimizer, **changed)
    (batched,), (plain,) = (
        finish(make(1, dtype=torch.float32), [extreme]).values() for make in (population, sequential)
    )
    assert (batched[-1].step, batched[-1].diverged_at) == (plain[-1].step, plain[-1].diverged_at)
    assert (batched[-1].diverged_at is None) == ("eps" in changed)


def test_another_error_of_the_optimizer_is_not_divergence(
    mlp: LoadedTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*args: object) -> None:
        raise RuntimeError("a tensor is on another device")

    monkeypatch.setattr(torch.optim.SGD, "step", failing)
    with pytest.raises(RuntimeError, match="another device"):
        finish(sequential(1), [member(mlp, 0, "sgd", lr=0.1)])


@pytest.mark.parametrize("make", [population, sequential])
def test_an_evaluation_has_the_step_of_the_divergence(make: Make) -> None:
    """With either engine and any number of steps between evaluations."""
    by_step = finish(sequential(1), [exploding(Toy(evaluate_every=1), 0)])
    (last,) = [each[-1] for each in by_step.values()]
    assert last.diverged_at == last.step
    for every in (2, 3, 6):
        evaluations = finish(make(1), [exploding(Toy(evaluate_every=every), 0)])
        (evaluation,) = [each[-1] for each in evaluations.values()]
        # Scores are computed after the update of their step, the loss before it: it is finite a step longer.
        assert evaluation.diverged_at in (last.diverged_at, last.diverged_at + 1)
        assert evaluation.metrics == {}


@pytest.mark.parametrize("make", [population, sequential])
@pytest.mark.parametrize("optimizer", HUGE)
def test_the_slot_of_a_diverged_member_is_free_and_cleared(
    make: Make, optimizer: str, mlp: LoadedTask
) -> None:
    engine = make(2)
    calm = member(mlp, 0, "amsgrad", lr=0.01)
    engine.admit([exploding(mlp, 1, optimizer), calm])
    found: dict[Member, list[Evaluation]] = {}
    evaluations = advance(engine, found)
    assert evaluations[0].diverged_at is not None
    # Weights and state in the slot were not finite; this member uses all of them.
    heir = member(mlp, 2, "rmsprop", lr=0.01, momentum=0.5, centered=True)
    engine.admit([heir])
    with pytest.raises(ValueError, match="0 free slots"):
        engine.admit([member(mlp, 3)])
    while len(found[calm]) < 10 or len(found[heir]) < 10:
        advance(engine, found)
    assert_close(curve(found[calm]), alone(calm))
    assert_close(curve(found[heir]), alone(heir))


@pytest.mark.parametrize("make", [population, sequential])
def test_members_may_all_diverge(make: Make, mlp: LoadedTask) -> None:
    engine = make(3)
    engine.admit([exploding(mlp, trial) for trial in range(3)])
    assert all(each.diverged_at is not None and not each.finished for each in engine.advance())
    each = member(mlp, lr=0.01)
    assert_close(curve(finish(engine, [each])[each]), alone(each))


@pytest.mark.parametrize(
    ("losses", "scores", "start", "expected"),
    [
        ([1.0, 2.0], [3.0], 10, None),
        ([1.0, float("nan"), float("inf")], [3.0], 10, 12),
        ([float("-inf"), 1.0], [float("nan")], 10, 11),
        ([1.0, 2.0], [3.0, float("nan")], 10, 12),
        ([1e200, 2.0], [1e300], 10, None),
    ],
)
def test_the_step_of_a_divergence(
    losses: list[float], scores: list[float], start: int, expected: int | None
) -> None:
    assert diverged_at(losses, scores, start) == expected
    torch.set_default_dtype(torch.float32)
    assert diverged_at(losses, scores, start) == expected


def distributed(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
    found = model(inputs).squeeze(-1)
    return -torch.distributions.Normal(found, found.exp()).log_prob(target).mean()


def factorized(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
    found = model(inputs)
    lower = torch.linalg.cholesky(found @ found.T + torch.eye(len(found)))
    return lower.diagonal().log().mean() + found.square().mean()


def of_eigenvalues(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
    found = model(inputs)
    return torch.linalg.eigvalsh(found @ found.T)[-1] + torch.linalg.svdvals(found).sum()


@pytest.mark.parametrize("measure", [distributed, factorized, of_eigenvalues])
@pytest.mark.parametrize("make", [population, sequential])
def test_an_error_of_torch_for_nan_is_a_divergence(
    make: Make, measure: Callable[[Model, Tensor, Tensor], Tensor]
) -> None:
    task = Toy(lambda: torch.nn.Linear(FEATURES, 1), measure)
    assert make_plan(task, "auto", "auto", "cpu", 1).engine == "population"  # type: ignore[arg-type]
    calm, wild = member(task, 0, lr=1e-3), member(task, 1, lr=1e300)  # type: ignore[arg-type]
    found = finish(make(2), [calm, wild])
    assert found[wild][-1].diverged_at == 2
    expected = finish(make(2), [calm])
    assert_close(curve(found[calm]), curve(expected[calm]))


def test_a_factorization_that_fails_is_a_divergence() -> None:
    """Torch leaves numbers behind that mean nothing."""

    def singular(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
        weight = model.weight  # type: ignore[attr-defined]
        return torch.linalg.cholesky(torch.eye(2) * (1 - weight.sum())).sum() + model(inputs).mean()

    def one() -> torch.nn.Module:
        model = torch.nn.Linear(FEATURES, 1)
        torch.nn.init.zeros_(model.weight)
        return model

    task = Toy(one, singular)
    trained = [member(task, 0, "sgd", lr=1e-6), member(task, 1, "sgd", lr=10.0)]  # type: ignore[arg-type]
    for make in (population, sequential):
        calm, wild = (found[-1] for found in finish(make(2), trained).values())
        assert (calm.diverged_at, wild.diverged_at) == (None, 2)


def test_a_metric_that_refuses_nan_does_not_end_the_search() -> None:
    class Refusing(Toy):
        def scores(self, model: Any, rows: Any) -> dict[str, Any]:
            values = model(rows[0]).tolist()
            if not all(map(math.isfinite, chain.from_iterable(values))):
                raise ValueError("Input contains NaN or infinity.")
            return {"val_loss": self.loss(model, rows), "val_largest": max(values)[0]}

    task = Refusing(lambda: torch.nn.Linear(FEATURES, 1), steps=2, evaluate_every=1)
    trained = [member(task, 0, "sgd", lr=1e-3), member(task, 1, "sgd", lr=1.7e308)]  # type: ignore[arg-type]
    for make in (population, sequential):
        calm, wild = (found[-1] for found in finish(make(2), trained).values())
        assert calm.metrics["val_largest"] != 0
        assert (wild.diverged_at, wild.metrics) == (1, {})


def checked(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
    loss = (model(inputs) - 0.0).square().mean()
    assert torch.isfinite(loss)
    return loss


def test_a_loss_that_checks_itself_diverges_in_an_evaluation_too() -> None:
    """The first loss is finite, and the update after it diverges: the evaluation is the first to see it."""
    task = Toy(lambda: torch.nn.Linear(FEATURES, 1), checked, steps=3, evaluate_every=1)
    trained = [member(task, 0, "sgd", lr=1e-3), member(task, 1, "sgd", lr=1e200)]  # type: ignore[arg-type]
    for make in (population, sequential):
        calm, wild = (found[-1] for found in finish(make(2), trained).values())
        assert (calm.diverged_at, calm.step) == (None, 3)
        assert (wild.diverged_at, wild.metrics) == (1, {})


class Codes(torch.nn.Module):
    """Its output chooses a row of a table: NaN is no number of a row."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(FEATURES, 4)
        self.norm = torch.nn.BatchNorm1d(4)
        self.table = torch.nn.Embedding(4, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        found = self.norm(self.layer(inputs))
        code = (found.sum(1).sigmoid() * 3.99).long()
        found: Tensor = found[:, :1] + self.table(code)
        return found


def sampled(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
    """The loss of three rows, drawn by their outputs: torch refuses to draw by NaN."""
    found = model(inputs)
    rows = torch.multinomial(found.squeeze(-1).softmax(0), 3)
    return (found.squeeze(-1) - target)[rows].square().mean()


@pytest.fixture(params=[True, False], ids=["programs", "python"])
def programs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Captures are replayed by programs in C, or by Python alone."""
    if not request.param:
        monkeypatch.setattr("adamtune.engines.population.replay.has_kernels", lambda: False)


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("measure", [None, sampled])
def test_an_error_of_one_member_is_its_divergence(measure: Callable[..., Tensor] | None) -> None:
    """The others, and those that come later, are trained as without it; so is a restored engine."""
    network = Codes if measure is None else lambda: torch.nn.Linear(FEATURES, 1)
    task = Toy(network, *(() if measure is None else (measure,)))
    assert make_plan(task, "auto", "auto", "cpu", 1).engine == "population"  # type: ignore[arg-type]
    calm = [member(task, trial, "adam", lr=0.01 * (1 + trial)) for trial in range(3)]  # type: ignore[arg-type]
    wild = [member(task, 9 + trial, "sgd", lr=1e308) for trial in range(2)]  # type: ignore[arg-type]
    expected = finish(sequential(5), [*calm, *wild])
    found = finish(population(5), [calm[0], wild[0], calm[1], wild[1], calm[2]])
    alone = finish(population(5), calm)
    for each in calm:
        for other in (expected, alone):  # torch normalises with an eps in float32
            assert_close(curve(found[each]), curve(other[each]), tolerance=1e-7)
    for each in wild:
        assert found[each][-1].diverged_at == expected[each][-1].diverged_at is not None
    engine = population(5)
    engine.admit([calm[0], wild[0], calm[1]])
    engine.advance()
    restored = population(5)
    restored.restore([calm[0], calm[1]], engine.state())
    for each, again in zip(engine.advance(), restored.advance(), strict=True):
        assert each.metrics == again.metrics


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("make", [population, sequential])
def test_an_error_of_a_member_that_has_not_diverged_ends_the_training(make: Make) -> None:
    def choosing(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
        found = model(inputs).squeeze(-1)
        place = (1 + found.detach().mean() * 1e-3).abs().long().clamp(max=100)
        return (found - target).square().mean() + torch.ones(2)[place]

    task = Toy(lambda: torch.nn.Linear(FEATURES, 1), choosing)
    assert make_plan(task, "auto", "auto", "cpu", 1).engine == "population"  # type: ignore[arg-type]
    trained = [member(task, 0, lr=1e-3), member(task, 1, "sgd", lr=1e5)]  # type: ignore[arg-type]
    with pytest.raises(IndexError, match="out of"):
        finish(make(2), trained)
