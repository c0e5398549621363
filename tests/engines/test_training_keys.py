"""What people's loops have beside an optimizer and a schedule: both engines do it as a plain loop does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

import pytest
from torch import nn

from adamtune.engines.base import Member
from adamtune.engines.population import update
from adamtune.engines.population.engine import Population
from adamtune.optimizers.registry import OPTIMIZERS, arguments, optimizer_class
from adamtune.schedules.registry import lr_factors
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.pytree import take_rows
from adamtune.tasks.randomness import batch_indices, derive, initial_module, seeded

from .models import FEATURES, Toy
from .training import TOLERANCE, Make, copied, finish, member, population, sequential, tensors

CLIPS = (None, 0.5, 0.02, 1e6)


def layers() -> nn.Module:
    """With parameters of one and two dimensions, random draws and buffers."""
    return nn.Sequential(
        nn.Linear(FEATURES, 5, bias=False), nn.BatchNorm1d(5), nn.PReLU(), nn.Dropout(0.3), nn.Linear(5, 1)
    )


def plain(each: Member) -> Iterator[tuple[float, nn.Module]]:
    """The loss before each step and the model after it, in a loop as people write it."""
    task = each.task
    module = initial_module(task, each.seed, each.replicate).double()
    parameters: list[dict[str, object]] = [{"params": list(module.parameters())}]
    built = optimizer_class(each.optimizer)(parameters, **arguments(each.optimizer, each.hyperparameters))
    factors = lr_factors(each.schedule, each.schedule_hyperparameters, task.steps)
    for step in range(task.steps):
        for group in built.param_groups:
            group["lr"] = each.hyperparameters["lr"] * factors[step]
        built.zero_grad()
        index = batch_indices(task, each.seed, each.replicate, step, step + 1)[0]
        with seeded(derive(each.seed, "step", each.replicate, step)):
            loss = task.loss(module.train(), take_rows(task.train, index))
        loss.backward()
        if each.clip_norm is not None:
            nn.utils.clip_grad_norm_(module.parameters(), each.clip_norm)
        built.step()
        yield loss.item(), module


def mixed(task: LoadedTask, optimizers: Sequence[str] = tuple(OPTIMIZERS)) -> list[Member]:
    """Members of every optimizer with weight decay, with and without clipping."""
    found = []
    for trial, name in enumerate(optimizers):
        own = OPTIMIZERS[name].defaults
        changed = {"weight_decay": 0.1} if "weight_decay" in own else {}
        schedule = ("constant", "cosine")[trial % 2]
        each = member(task, trial, name, schedule, replicate=trial % 3, lr=0.01 * 1.1**trial, **changed)
        found.append(replace(each, clip_norm=CLIPS[trial % len(CLIPS)]))
    return found


def toy(**changes: object) -> LoadedTask:
    return Toy(layers, steps=10, **changes)  # type: ignore[return-value, arg-type]


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
        for name, parameter in steps[-1][1].named_parameters():
            difference = (found[f"parameter.{name}"] - parameter.detach()).abs().max()
            assert difference < TOLERANCE, (each.optimizer, each.clip_norm, name)


MAKERS = pytest.mark.parametrize("make", [sequential, population], ids=["sequential", "population"])


@MAKERS
def test_gradients_are_clipped_for_each_member_as_torch_does(make: Make) -> None:
    assert_plain(make, mixed(toy()))


def test_torch_operations_clip_as_the_pass_in_c_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update, "c_functions", lambda: None)
    assert_plain(population, mixed(toy()))


@pytest.mark.parametrize("clip_norm", CLIPS[1:])
def test_clipping_changes_the_training(clip_norm: float) -> None:
    """Else the comparisons above would compare nothing."""
    each = member(toy(), optimizer="sgd", lr=0.1)
    free, clipped = (list(plain(one))[-1][0] for one in (each, replace(each, clip_norm=clip_norm)))
    assert (free != clipped) == (clip_norm < 1)


def test_members_without_clipping_pay_nothing_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update, "c_functions", lambda: None)
    monkeypatch.setattr(update, "clip_gain", None)
    finish(Population(2), [member(toy(), trial) for trial in range(2)])


@MAKERS
def test_a_norm_that_is_not_finite_ends_its_member_alone(make: Make) -> None:
    task = toy()
    lrs = (1e200, 1e-3)
    members = [replace(member(task, i, "sgd", lr=lr), clip_norm=1.0) for i, lr in enumerate(lrs)]
    found = finish(make(2), members)
    assert [found[each][-1].diverged_at for each in members] == [2, None]


@MAKERS
def test_a_restored_training_continues_to_the_last_bit(make: Make) -> None:
    members = mixed(toy())
    engine, restored = make(len(members)), make(len(members))
    engine.admit(members)
    engine.advance()
    restored.restore(members, copied(engine.state()))
    ours, theirs = finish(engine), finish(restored)
    for each in members:
        assert [one.metrics for one in ours[each]] == [one.metrics for one in theirs[each]]
