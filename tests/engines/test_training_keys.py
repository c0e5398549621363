"""What people's loops have beside an optimizer and a schedule: both engines do it as a plain loop does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from statistics import fmean
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from adamtune.engines.base import Member, Source, in_precision
from adamtune.engines.batching import mode
from adamtune.engines.population import loss_scaling, update_blocks, update_in_c, verification
from adamtune.engines.population.capture import CannotCapture
from adamtune.engines.population.engine import Population
from adamtune.engines.population.gradients import BatchedTask
from adamtune.engines.sequential import Sequential
from adamtune.optimizers.registry import OPTIMIZERS, arguments, optimizer_class
from adamtune.recipe import Recipe
from adamtune.schedules.registry import lr_factors
from adamtune.tasks.loaded import LoadedTask, load
from adamtune.tasks.pytree import map_rows, take_rows
from adamtune.tasks.randomness import batch_indices, derive, initial_module, seeded
from adamtune.tasks.registry import TASKS

from .conftest import SETTINGS
from .models import FEATURES, Toy, squared_error
from .training import TOLERANCE, Make, copied, finish, member, population, sequential, tensors

CLIPS = (None, 0.5, 0.02, 1e6)


def layers() -> nn.Module:
    """With parameters of one and two dimensions, random draws and buffers."""
    return nn.Sequential(
        nn.Linear(FEATURES, 5, bias=False), nn.BatchNorm1d(5), nn.PReLU(), nn.Dropout(0.3), nn.Linear(5, 1)
    )


def plain(each: Member, dtype: torch.dtype = torch.float64) -> Iterator[tuple[float, nn.Module]]:
    """The loss before each step and the model after it, in a loop as people write it."""
    task, recipe = each.task, each.task.recipe
    module = initial_module(task, each.seed, each.replicate).to(dtype)
    groups: list[dict[str, Any]] = [{"params": list(module.parameters())}]
    if recipe.weight_decay_on == "matrices":
        groups = [
            {"params": [one for one in module.parameters() if one.dim() >= 2]},
            {"params": [one for one in module.parameters() if one.dim() < 2], "weight_decay": 0.0},
        ]
    built = optimizer_class(each.optimizer)(groups, **arguments(each.optimizer, each.hyperparameters))
    factors = lr_factors(each.schedule, each.schedule_hyperparameters, task.steps)
    scaler = torch.amp.GradScaler("cpu", enabled=recipe.precision == "float16")
    low = torch.bfloat16 if recipe.precision == "bfloat16" else torch.float16
    compute = getattr(task, "task", task).loss
    for step in range(task.steps):
        for group in built.param_groups:
            group["lr"] = each.hyperparameters["lr"] * factors[step]
        built.zero_grad()
        losses = []
        for number in range(step * recipe.accumulate, (step + 1) * recipe.accumulate):
            index = batch_indices(task, each.seed, each.replicate, number, number + 1)[0]
            batch = map_rows(lambda rows: in_precision(rows, dtype), take_rows(task.train, index))
            with (
                seeded(derive(each.seed, "step", each.replicate, number)),
                torch.autocast("cpu", low, enabled=recipe.autocast),
            ):
                loss = compute(module.train(), batch)
            scaler.scale(loss / recipe.accumulate).backward()
            losses.append(loss.item())
        if each.clip_norm is not None:
            scaler.unscale_(built)
            nn.utils.clip_grad_norm_(module.parameters(), each.clip_norm)
        scaler.step(built)
        scaler.update()
        yield fmean(losses), module


def mixed(task: LoadedTask, optimizers: Sequence[str] = tuple(OPTIMIZERS)) -> list[Member]:
    """Members of every optimizer with weight decay, with and without clipping."""
    found = []
    for trial, name in enumerate(optimizers):
        changed = {"weight_decay": 0.1, "decoupled_weight_decay": True}
        own = {key: value for key, value in changed.items() if key in OPTIMIZERS[name].defaults}
        schedule = ("constant", "cosine")[trial % 2]
        each = member(task, trial, name, schedule, replicate=trial % 3, lr=0.01 * 1.1**trial, **own)
        found.append(replace(each, clip_norm=CLIPS[trial % len(CLIPS)]))
    return found


def overflowing(model: nn.Module, inputs: Tensor, target: Tensor) -> Tensor:
    """An error whose gradient, but not its value, is infinite for batches with one of the rows."""
    output = model(inputs).squeeze(-1)
    difference = (output - output.detach()).sum()
    odd = inputs.max() > 2.2
    return F.mse_loss(output, target) + torch.where(odd, difference, 1.0).sqrt() - torch.where(odd, 0.0, 1.0)


def toy(**changes: Any) -> LoadedTask:
    recipe = changes.get("recipe", Recipe())
    measure = overflowing if recipe.loss_scale else squared_error
    return Toy(layers, measure, steps=10, **changes)  # type: ignore[return-value]


def assert_plain(make: Make, members: Sequence[Member]) -> None:
    """Trains to the last evaluation but one, and compares losses and weights with plain loops."""
    engine = make(len(members))
    engine.admit(members)
    losses: dict[Member, list[float]] = {each: [] for each in members}
    stretches = members[0].task.steps // members[0].task.evaluate_every - 1
    for _ in range(stretches):
        for evaluation in engine.advance():
            assert evaluation.diverged_at is None
            losses[evaluation.member].append(evaluation.metrics["train_loss"])
    for each, found in zip(members, tensors(engine, members), strict=True):
        every = each.task.evaluate_every
        steps = list(islice(plain(each), stretches * every))
        means = [
            sum(loss for loss, _ in steps[at : at + every]) / every for at in range(0, len(steps), every)
        ]
        assert losses[each] == pytest.approx(means, rel=TOLERANCE)
        for name, value in steps[-1][1].state_dict().items():
            ours = found.get(f"parameter.{name}", found.get(f"kept.{name}"))
            if ours is not None:  # the sequential engine's buffers are not among its tensors
                assert (ours - value).abs().max() < TOLERANCE, (each.optimizer, each.clip_norm, name)


MAKERS = pytest.mark.parametrize("make", [sequential, population], ids=["sequential", "population"])


@MAKERS
def test_gradients_are_clipped_for_each_member_as_torch_does(make: Make) -> None:
    assert_plain(make, mixed(toy()))


def test_torch_operations_clip_as_the_pass_in_c_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update_in_c, "c_functions", lambda: None)
    assert_plain(population, mixed(toy()))


@pytest.mark.parametrize("clip_norm", CLIPS[1:])
def test_clipping_changes_the_training(clip_norm: float) -> None:
    """Else the comparisons above would compare nothing."""
    each = member(toy(), optimizer="sgd", lr=0.1)
    free, clipped = (list(plain(one))[-1][0] for one in (each, replace(each, clip_norm=clip_norm)))
    assert (free != clipped) == (clip_norm < 1)


def test_members_without_clipping_pay_nothing_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update_in_c, "c_functions", lambda: None)
    monkeypatch.setattr(update_blocks, "clip_gain", None)
    finish(Population(2), [member(toy(), trial) for trial in range(2)])


@MAKERS
def test_a_norm_that_is_not_finite_ends_its_member_alone(make: Make) -> None:
    task = toy()
    lrs = (1e200, 1e-3)
    members = [replace(member(task, i, "sgd", lr=lr), clip_norm=1.0) for i, lr in enumerate(lrs)]
    found = finish(make(2), members)
    assert [found[each][-1].diverged_at for each in members] == [2, None]


RECIPES = [
    Recipe(weight_decay_on="matrices", accumulate=3),
    Recipe(precision="float16"),
    Recipe("float16", "matrices", 2),
]
EACH_RECIPE = pytest.mark.parametrize("recipe", RECIPES, ids=str)


@MAKERS
@EACH_RECIPE
def test_a_recipe_is_followed_as_in_a_plain_loop(recipe: Recipe, make: Make) -> None:
    assert_plain(make, mixed(toy(recipe=recipe)))


@EACH_RECIPE
def test_torch_operations_follow_it_as_the_pass_in_c_does(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(update_in_c, "c_functions", lambda: None)
    assert_plain(population, mixed(toy(recipe=recipe)))


@settings(max_examples=10, phases=[Phase.generate])
@given(
    recipe=st.builds(
        Recipe,
        precision=st.sampled_from(["float64", "float16"]),
        weight_decay_on=st.sampled_from(["all", "matrices"]),
        accumulate=st.integers(1, 3),
    ),
    names=st.lists(st.sampled_from(sorted(OPTIMIZERS)), min_size=1, max_size=3),
    every=st.integers(1, 4),
    make=st.sampled_from([sequential, population]),
)
def test_any_combination_equals_a_plain_loop(
    recipe: Recipe, names: list[str], every: int, make: Make
) -> None:
    assert_plain(make, mixed(toy(recipe=recipe, evaluate_every=every), names))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_vectors_decay_only_where_all_weights_do(name: str) -> None:
    """Else the comparisons above would compare nothing."""

    def vectors(recipe: Recipe, decay: float) -> list[Tensor]:
        each = member(toy(recipe=recipe), optimizer=name, lr=0.01, weight_decay=decay)
        _, module = next(plain(each))
        return [one.detach() for one in module.parameters() if one.dim() < 2]

    free, everywhere = vectors(Recipe(), 0.0), vectors(Recipe(), 0.9)
    assert any(not torch.equal(*pair) for pair in zip(free, everywhere, strict=True))


def test_some_scaled_gradients_overflow_and_some_do_not() -> None:
    """Else the comparisons above would compare nothing. Replicates skip different steps."""
    found = []
    for replicate in range(2):
        each = member(toy(recipe=Recipe("float16")), replicate=replicate, optimizer="sgd", lr=0.1)
        norms = [sum(one.norm().item() for one in module.parameters()) for _, module in plain(each)]
        found.append([step for step in range(1, 10) if norms[step] == norms[step - 1]])
    assert all(1 < len(steps) < 8 for steps in found), found
    assert found[0] != found[1]


@settings(max_examples=30)
@given(finite=st.lists(st.booleans(), min_size=1, max_size=40), start=st.sampled_from([1.0, 2.0**125]))
def test_each_loss_scale_follows_the_rule_of_torch(finite: list[bool], start: float) -> None:
    """From a scale near the largest float32, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loss_scaling, "INTERVAL", 3)
        patch.setattr(loss_scaling, "INITIAL", start)
        ours = loss_scaling.LossScaling.rows(2, torch.float32, torch.device("cpu"))
        parameter = nn.Parameter(torch.ones(3, dtype=torch.float32))
        optimizer = torch.optim.SGD([parameter], lr=1.0)
        scaler = torch.amp.GradScaler("cpu", init_scale=start, growth_interval=3)
        scaler.scale(torch.zeros(()))
        for fits in finite:
            gradient = torch.tensor([1.0, 2.0, 3.0 if fits else torch.nan], dtype=torch.float32)
            factor = ours.update([torch.stack([torch.ones(3), gradient])])
            assert (float(factor[1]) > 0) == fits
            parameter.grad = gradient
            scaler.unscale_(optimizer)
            scaler.update()
            optimizer.zero_grad()
            assert float(ours.scale[1]) == scaler.get_scale()


@MAKERS
@pytest.mark.parametrize("recipe", [Recipe(accumulate=2), Recipe("float16")], ids=str)
def test_members_that_begin_later_train_as_if_alone(recipe: Recipe, make: Make) -> None:
    """Some begin while others are at another step, and some where others have left their rows."""
    task = toy(recipe=recipe)
    first, *others = (
        [replace(each, trial=10 * group + each.trial) for each in mixed(task, names)]
        for group, names in enumerate((["adam"], ["sgd", "adam"], ["nadam", "lion", "adamw"]))
    )
    engine = make(3)
    engine.admit(first)
    engine.advance()
    found = finish(engine, others[0]) | finish(engine, others[1])
    for each in (*first, *others[0], *others[1]):
        expected = [loss for loss, _ in plain(each)]
        assert found[each][-1].metrics["train_loss"] == pytest.approx(fmean(expected[-2:]), rel=TOLERANCE)


def test_each_member_begins_with_the_loss_scale_of_torch() -> None:
    members = mixed(toy(recipe=Recipe("float16")), ["sgd", "adam"])
    engine = population(1)

    def scale() -> float:
        return float(engine.state()["groups"][0]["tensors"]["scaling.scale"])

    engine.admit(members[:1])
    for _ in range(4):
        engine.advance()
    assert scale() < 65536
    finish(engine)
    engine.admit(members[1:])
    assert scale() == 65536


@MAKERS
@EACH_RECIPE
def test_a_restored_training_continues_to_the_last_bit(recipe: Recipe, make: Make) -> None:
    members = mixed(toy(recipe=recipe))
    engine, restored = make(len(members)), make(len(members))
    engine.admit(members)
    engine.advance()
    restored.restore(members, copied(engine.state()))
    ours, theirs = finish(engine), finish(restored)
    for each in members:
        assert [one.metrics for one in ours[each]] == [one.metrics for one in theirs[each]]


def built(name: str, recipe: Recipe) -> LoadedTask:
    return load(TASKS[name].settings.model_validate(SETTINGS[name]), recipe)


@pytest.mark.parametrize("name", TASKS)
def test_a_precision_is_that_of_a_plain_loop(name: str) -> None:
    torch.set_default_dtype(torch.float32)
    trained = []
    for precision in ("float32", "bfloat16", "float16", "float64"):
        task = replace(built(name, Recipe(precision)), steps=16, evaluate_every=4)
        each = replace(member(task, lr=1e-3, optimizer="adamw"), clip_norm=1.0)
        dtype = torch.float64 if precision == "float64" else torch.float32
        expected = [loss for loss, _ in plain(each, dtype)]
        means = [fmean(expected[at : at + 4]) for at in range(0, len(expected), 4)]
        # The rounding of torch's own kernels depends on their threads, in 16 bits more than elsewhere.
        for kind, tolerance in ((Sequential, 1e-5), (Population, 0.02)):
            found = [evaluation.metrics["train_loss"] for evaluation in finish(kind(1), [each])[each]]
            assert found == pytest.approx(means, rel=tolerance), (precision, kind)
            trained.append((kind, tuple(found)))
    assert len({*trained}) == 8  # each precision has results of its own


def test_a_method_that_leaves_autocast_out_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_default_dtype(torch.float32)
    monkeypatch.setattr(mode, "autocast_arguments", lambda function, device, arguments: arguments)
    source = Source(built("cnn", Recipe("bfloat16")), torch.device("cpu"))
    with pytest.raises(CannotCapture, match="computes in float32, not in bfloat16"):
        verification._check_method(BatchedTask(source), shared=True)
    assert not verification.batched_task(source).method.rules  # vmap alone leaves it to torch
