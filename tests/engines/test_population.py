"""A member's results do not depend on the other members, on its row, or on when it was admitted."""

from __future__ import annotations

import gc
import random
import weakref
from collections.abc import Mapping, Sequence

import pytest
import torch

from adamtune.engines.base import Engine, Evaluation, Member
from adamtune.engines.population.step import STRETCH
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.schedules.registry import SCHEDULES
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.registry import TASKS

from .conftest import SETTINGS
from .models import Toy
from .training import (
    Make,
    advance,
    alone,
    assert_all_differ,
    assert_close,
    curve,
    finish,
    initial_parameters,
    member,
    population,
    sequential,
    some,
    tensors,
    varied_member,
)


def mixed(task: LoadedTask, count: int) -> list[Member]:
    """Members of many rules and schedules, and of two replicates."""
    rules, schedules = list(OPTIMIZERS), list(SCHEDULES)
    return [
        varied_member(task, i, rules[i % len(rules)], schedules[i % len(schedules)]) for i in range(count)
    ]


def test_permuting_the_members_permutes_the_results(mlp: LoadedTask) -> None:
    members = mixed(mlp, 11)
    shuffled = random.Random(1).sample(members, len(members))
    assert shuffled != members
    found, again = finish(population(11), members), finish(population(11), shuffled)
    assert_all_differ([curve(found[each]) for each in members])
    for each in members:
        assert_close(curve(again[each]), curve(found[each]))


@pytest.mark.parametrize("name", TASKS)
def test_a_population_of_one_equals_the_sequential_engine(name: str, tasks: Mapping[str, LoadedTask]) -> None:
    each = member(tasks[name], optimizer="nadam", schedule="cosine", lr=0.01, warmup_fraction=0.1)
    assert_close(curve(finish(population(1), [each])[each]), alone(each))


@pytest.mark.parametrize("threads", [2, 3, 16])
def test_results_do_not_depend_on_the_number_of_threads(threads: int, mlp: LoadedTask) -> None:
    members = mixed(mlp, 7)
    found, expected = finish(population(7, threads), members), finish(population(7), members)
    for each in members:
        assert_close(curve(found[each]), curve(expected[each]))


def test_replicates_and_seeds_have_different_results(mlp: LoadedTask) -> None:
    members = [
        member(mlp, trial, replicate=replicate, seed=seed)
        for trial, (seed, replicate) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)])
    ]
    assert_all_differ([curve(each) for each in finish(population(4), members).values()])


@pytest.mark.parametrize("make", [population, sequential])
def test_members_of_a_replicate_start_alike(make: Make, tasks: Mapping[str, LoadedTask]) -> None:
    task = tasks["transformer"]
    members = [member(task, trial, replicate=trial % 2, lr=0.1**trial) for trial in range(4)]
    engine = make(4)
    engine.admit(members)
    found = tensors(engine, members)
    for name, value in initial_parameters(task, 0, 0).items():
        starts = [each[f"parameter.{name}"] for each in found]
        assert torch.equal(starts[0], value)
        assert torch.equal(starts[0], starts[2])
        assert torch.equal(starts[1], starts[3])
    assert not torch.equal(found[0]["parameter.tokens.weight"], found[1]["parameter.tokens.weight"])


@pytest.mark.parametrize("make", [population, sequential])
def test_members_of_a_replicate_see_the_same_batches(make: Make, mlp: LoadedTask) -> None:
    """With a learning rate near 0 weights hardly change, so that training losses differ by batches alone."""
    members = [
        member(mlp, trial, optimizer, replicate=trial % 2, lr=1e-30)
        for trial, optimizer in enumerate(["adam", "adam", "sgd", "rmsprop"])
    ]
    found = finish(make(4), members)
    losses = [[each.metrics["train_loss"] for each in found[one]] for one in members]
    assert losses[0] == pytest.approx(losses[2], rel=1e-14)
    assert losses[1] == pytest.approx(losses[3], rel=1e-14)
    assert all(ours != pytest.approx(theirs, rel=1e-3) for ours, theirs in zip(*losses[:2], strict=True))
    assert len(set(losses[0])) == len(losses[0])


@pytest.mark.parametrize(("replicates", "threads"), [(1, 2), (2, 1)])
def test_members_that_come_and_go_do_not_change_the_others(replicates: int, threads: int) -> None:
    """In five slots: after each evaluation some members are released and others take their slots."""
    draw, task = random.Random(threads), Toy(steps=30, evaluate_every=3)
    waiting = [
        member(task, trial, rule, "linear", replicate=trial % replicates, lr=5e-3 * 1.1**trial)
        for trial, rule in enumerate(2 * list(OPTIMIZERS))
    ]
    engine = population(5, threads)
    found: dict[Member, list[Evaluation]] = {}
    training: list[Member] = []
    widths = set()
    while waiting or training:
        admitted = [waiting.pop(0) for _ in range(min(draw.randint(0, 5 - len(training)), len(waiting)))]
        engine.admit(admitted)
        training += admitted
        if not training:
            continue
        widths.add(len(training))
        evaluations = advance(engine, found)
        assert [each.member for each in evaluations] == training
        training = [each.member for each in evaluations if not each.finished]
        pruned = [each for each in training if draw.random() < 0.06]
        engine.release(pruned)
        training = [each for each in training if each not in pruned]
    lengths = {len(each) for each in found.values()}
    assert 10 in lengths
    assert min(lengths) < 10, "nothing was pruned"
    assert {1, 5} <= widths
    expected = finish(sequential(len(found)), list(found))
    assert_all_differ([curve(each) for each in expected.values()])
    for each, evaluations in found.items():
        assert_close(curve(evaluations), curve(expected[each])[: len(evaluations)])


def test_a_member_admitted_later_has_the_results_of_one_alone(tasks: Mapping[str, LoadedTask]) -> None:
    """The members are of one replicate but at different steps, so their batches differ."""
    first, second = some(tasks["cnn"], 2)
    engine = population(2)
    engine.admit([first])
    found: dict[Member, list[Evaluation]] = {}
    advance(engine, found)
    found |= {each: [*found.get(each, []), *more] for each, more in finish(engine, [second]).items()}
    while len(found[second]) < len(found[first]):
        advance(engine, found)
    for each in (first, second):
        assert_close(curve(found[each]), alone(each)[: len(found[each])])


@pytest.mark.parametrize("make", [population, sequential])
def test_the_last_evaluation_interval_may_be_shorter(make: Make) -> None:
    task = Toy(steps=7, evaluate_every=3)
    early, late = some(task, 2)
    engine = make(2)
    engine.admit([early])
    found: dict[Member, list[Evaluation]] = {}
    advance(engine, found)
    advance(engine, found)
    engine.admit([late])
    # One member has a single step left, the other three until its evaluation.
    evaluations = advance(engine, found)
    assert [(each.step, each.finished) for each in evaluations] == [(7, True), (3, False)]
    advance(engine, found)
    assert advance(engine, found)[0].finished
    for each in (early, late):
        assert [one.step for one in found[each]] == [3, 6, 7]
        assert_close(curve(found[each]), alone(each))


@pytest.mark.parametrize("make", [population, sequential])
def test_the_training_loss_is_the_mean_since_the_last_evaluation(make: Make) -> None:
    by_step = alone(member(Toy(steps=7, evaluate_every=1)))
    each = member(Toy(steps=7, evaluate_every=3))
    losses = [metrics["train_loss"] for _, metrics in by_step]
    found = [metrics["train_loss"] for _, metrics in curve(finish(make(1), [each])[each])]
    assert found == pytest.approx([sum(losses[:3]) / 3, sum(losses[3:6]) / 3, losses[6]], rel=1e-12)


@pytest.mark.parametrize("replicates", [1, 2])
def test_an_evaluation_interval_may_be_longer_than_a_stretch(replicates: int) -> None:
    """Than the steps whose batches and coefficients are placed on the device at a time."""
    task = Toy(steps=2 * STRETCH + 11, evaluate_every=2 * STRETCH + 11)
    members = [member(task, trial, "radam", "cosine", replicate=trial % replicates) for trial in range(2)]
    for each, evaluations in finish(population(2), members).items():
        assert_close(curve(evaluations), alone(each))


@pytest.mark.parametrize("threads", [1, 2])
def test_cohorts_train_side_by_side(threads: int, tasks: Mapping[str, LoadedTask]) -> None:
    wide = TASKS["mlp"].build({**SETTINGS["mlp"], "hidden": [5, 3], "batch_size": 8})
    members = [member(task, i, lr=0.01) for i, task in enumerate([tasks["mlp"], wide, tasks["mlp"], wide])]
    engine = population(4, threads)
    engine.admit(members)
    assert [each.member for each in engine.advance()] == members
    again = [member(each.task, each.trial, lr=0.01) for each in members]
    for each, evaluations in finish(population(4, threads), again).items():
        assert_close(curve(evaluations), alone(each))


@pytest.mark.parametrize("make", [population, sequential])
def test_more_members_than_free_slots_are_refused(make: Make, mlp: LoadedTask) -> None:
    engine: Engine = make(2)
    members = some(mlp, 3)
    with pytest.raises(ValueError, match="3 members for 2 free slots"):
        engine.admit(members)
    engine.admit(members[:2])
    with pytest.raises(ValueError, match="1 members for 0 free slots"):
        engine.admit(members[2:])
    engine.release(members[:1])
    engine.admit(members[2:])
    assert [each.member for each in engine.advance()] == members[1:]


def test_seconds_are_divided_among_the_members(mlp: LoadedTask) -> None:
    engine = population(3)
    engine.admit(some(mlp, 3))
    seconds = {each.seconds for each in engine.advance()}
    assert len(seconds) == 1
    assert min(seconds) > 0


def test_the_state_of_torchs_generator_does_not_change(mlp: LoadedTask) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    finish(population(2), some(mlp, 2))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_idle_cohorts_are_dropped_from_memory() -> None:
    """Each value of a searched width is a cohort; a long search may not keep them all in memory."""
    engine = population(2)
    cohorts = []
    for _ in range(12):
        task = Toy(steps=2)
        finish(engine, some(task, 2))
        cohorts.append(weakref.ref(task))
        del task
    gc.collect()
    assert any(each() is None for each in cohorts)


def same(found: Sequence[Evaluation], expected: Sequence[Evaluation]) -> bool:
    return curve(found) == curve(expected)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_members_twice_give_the_same_bits(threads: int, mlp: LoadedTask) -> None:
    members = mixed(mlp, 7)
    found, again = finish(population(7, threads), members), finish(population(7, threads), members)
    assert all(same(found[each], again[each]) for each in members)
