"""The reference tasks: shapes, learning, and running under vmap."""

from __future__ import annotations

from math import ceil
from typing import Any

import pytest
import torch
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from adamtune.tasks.base import Rows
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.randomness import batch_indices, initial_module
from adamtune.tasks.registry import TASKS

SMALL: dict[str, dict[str, Any]] = {
    "mlp": {"dataset": "diabetes", "hidden": [8, 4], "epochs": 4},
    "cnn": {"channels": [2, 3, 4], "hidden": 5, "epochs": 3},
    "transformer": {"d_model": 8, "layers": 1, "context": 6, "batch_size": 8, "steps": 25},
}

every_task = pytest.mark.parametrize("name", sorted(TASKS))


def train(task: LoadedTask, lr: float, steps: int | None = None) -> torch.nn.Module:
    """Plain training with torch.optim.Adam."""
    model = task.build()
    model.load_state_dict(initial_module(task, 0, 0).state_dict())
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for rows in batch_indices(task, 0, 0, 0, steps or task.steps):
        optimizer.zero_grad()
        task.loss(model, take(task.train, rows)).backward()
        optimizer.step()
    return model


def take(rows: Rows, indices: torch.Tensor) -> Rows:
    return tuple(tensor[indices] for tensor in rows)


@torch.no_grad()
def scores(task: LoadedTask, model: torch.nn.Module) -> dict[str, float]:
    return {name: float(value) for name, value in task.scores(model, task.validation).items()}


def test_every_task_has_a_small_version_here() -> None:
    assert SMALL.keys() == TASKS.keys()


@every_task
def test_metrics_are_those_of_the_catalog(name: str) -> None:
    task = TASKS[name].build(SMALL[name])
    assert {*scores(task, task.build()), "train_loss"} == set(TASKS[name].metrics_with(SMALL[name]))


@every_task
def test_ten_evaluations_and_none_missing_at_the_end(name: str) -> None:
    task = TASKS[name].build(SMALL[name])
    assert ceil(task.steps / task.evaluate_every) <= 10
    assert task.evaluate_every == ceil(task.steps / 10)


@every_task
def test_loss_and_scores_are_scalars_in_the_dtype_of_the_model(name: str) -> None:
    task = TASKS[name].build(SMALL[name])
    model = task.build().double()
    rows = tuple(each.double() if each.is_floating_point() else each for each in task.validation)
    for value in (task.loss(model, rows), *task.scores(model, rows).values()):
        assert value.shape == ()
        assert value.dtype == torch.float64


def test_default_budgets_and_sizes() -> None:
    mlp, cnn, transformer = (TASKS[name].build({}) for name in ("mlp", "cnn", "transformer"))
    assert (mlp.batch_size, mlp.steps) == (32, 5 * (6400 // 32))
    assert (cnn.batch_size, cnn.steps) == (64, 10 * (1149 // 64))
    assert (transformer.batch_size, transformer.steps) == (32, 300)
    counts = [sum(each.numel() for each in task.build().parameters()) for task in (mlp, cnn)]
    assert counts == [
        10 * 64 + 64 + 64 * 64 + 64 + 64 + 1,
        16 * 9 + 16 + 16 * 32 * 9 + 32 + 32 * 2 * 2 * 64 + 64 + 64 * 10 + 10,
    ]


@pytest.mark.parametrize(("name", "lr"), [("mlp", 1e-2), ("cnn", 1e-2), ("transformer", 1e-2)])
def test_a_short_training_lowers_the_validation_loss(name: str, lr: float) -> None:
    task = TASKS[name].build(SMALL[name])
    untrained = task.build()
    untrained.load_state_dict(initial_module(task, 0, 0).state_dict())
    assert scores(task, train(task, lr))["val_loss"] < 0.9 * scores(task, untrained)["val_loss"]


@every_task
def test_members_under_vmap_agree_with_one_at_a_time(name: str) -> None:
    task = TASKS[name].build(SMALL[name])
    models = [task.build().double() for _ in range(3)]
    stacked, _ = stack_module_state(models)  # type: ignore[arg-type]
    rows = tuple((each.double() if each.is_floating_point() else each)[:12] for each in task.validation)

    def member(parameters: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        def model(inputs: torch.Tensor) -> torch.Tensor:
            output: torch.Tensor = functional_call(models[0], parameters, (inputs,))
            return output

        return task.loss(model, rows), dict(task.scores(model, rows))

    # scaled_dot_product_attention has a batching rule in its math form alone.
    with sdpa_kernel(SDPBackend.MATH):
        losses, metrics = vmap(member)(stacked)
        alone = [(task.loss(model, rows), task.scores(model, rows)) for model in models]
        gradients = torch.autograd.grad(losses.sum(), list(stacked.values()))
        lone_gradients = [
            torch.autograd.grad(loss, list(m.parameters()))
            for m, (loss, _) in zip(models, alone, strict=True)
        ]
    assert losses.unique().numel() == 3
    torch.testing.assert_close(losses, torch.stack([loss for loss, _ in alone]))
    for key in metrics:
        torch.testing.assert_close(metrics[key], torch.stack([values[key] for _, values in alone]))
    for batched, *single in zip(gradients, *lone_gradients, strict=True):
        torch.testing.assert_close(batched, torch.stack(single))


def test_transformer_sees_no_future_character() -> None:
    task = TASKS["transformer"].build(SMALL["transformer"])
    model = task.build()
    windows = task.validation[0][:4, :-1]
    changed = windows.clone()
    changed[:, 3:] = (changed[:, 3:] + 1) % 50
    before, after = model(windows), model(changed)
    torch.testing.assert_close(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 3:], after[:, 3:])


def test_r2_of_the_mean_is_zero_and_of_the_truth_one() -> None:
    task = TASKS["mlp"].build({})
    target = task.validation[1]
    mean = task.scores(lambda x: target.mean().expand(len(x), 1), task.validation)
    truth = task.scores(lambda x: target[:, None], task.validation)
    assert float(mean["val_r2"]) == pytest.approx(0, abs=1e-6)
    assert float(truth["val_r2"]) == 1


def test_accuracy_counts_hits() -> None:
    task = TASKS["cnn"].build({})
    labels = task.validation[1].clone()
    labels[:72] = (labels[:72] + 1) % 10
    guess = torch.nn.functional.one_hot(labels, 10).float()
    assert float(task.scores(lambda _: guess, task.validation)["val_accuracy"]) == pytest.approx(0.75)


def test_a_uniform_guess_costs_the_logarithm_of_the_vocabulary() -> None:
    task = TASKS["transformer"].build(SMALL["transformer"])
    rows = (torch.zeros(2, 7, dtype=torch.int64),)
    values = task.scores(lambda x: torch.zeros(*x.shape, 128), rows)
    assert float(values["val_bpc"]) == pytest.approx(7)


@pytest.mark.parametrize(
    ("settings", "lr", "least"), [({"dataset": "diabetes", "epochs": 30}, 3e-4, 0.3), ({}, 3e-3, 0.9)]
)
def test_mlp_learns_what_it_should(settings: dict[str, Any], lr: float, least: float) -> None:
    task = TASKS["mlp"].build(settings)
    assert scores(task, train(task, lr))["val_r2"] > least


def test_cnn_learns_what_it_should() -> None:
    task = TASKS["cnn"].build({})
    assert scores(task, train(task, 3e-3))["val_accuracy"] > 0.95


def test_transformer_learns_what_it_should() -> None:
    task = TASKS["transformer"].build({})
    assert scores(task, train(task, 3e-3))["val_bpc"] < 4
