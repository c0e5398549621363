"""A user's function without a search: what a run gives it, and what it may do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import adamtune
from adamtune.function import Pruned, Run
from adamtune.optimizers.registry import OPTIMIZERS

SETTINGS = {
    "optimizer": "adamw",
    "lr": 0.5,
    "beta1": 0.8,
    "beta2": 0.99,
    "eps": 1e-6,
    "weight_decay": 0.25,
    "amsgrad": False,
    "schedule": "linear",
    "warmup_fraction": 0.25,
    "final_fraction": 0.0,
    "width": 3,
}


def test_the_optimizer_has_the_trials_settings() -> None:
    sent: list[Mapping[str, Any]] = []
    run = Run(SETTINGS, send=lambda message: not sent.append(message))  # type: ignore[func-returns-value]
    optimizer, scheduler = run.optimizer([torch.nn.Parameter(torch.zeros(2))], steps=8)
    group = optimizer.param_groups[0]
    assert isinstance(optimizer, torch.optim.AdamW)
    assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.8, 0.99), 1e-6, 0.25)
    lrs = []
    for _ in range(10):
        lrs.append(group["lr"])
        optimizer.step()
        scheduler.step()
    # Two steps of warmup, then a straight line to 0 over the six that remain.
    assert lrs[:8] == pytest.approx([0.25, 0.5, *(0.5 * (6 - step) / 6 for step in range(6))])
    assert lrs[8:] == lrs[7:8] * 2
    assert sent == [{"total": 8}]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_parameter_groups_have_values_of_their_own(name: str) -> None:
    first, second = (torch.ones(2, requires_grad=True) for _ in range(2))
    settings = {**OPTIMIZERS[name].defaults, "lr": 0.1, "schedule": "linear", "warmup_fraction": 0.0}
    optimizer, scheduler = Run({"optimizer": name, **settings, "final_fraction": 0.0}).optimizer(
        [{"params": iter([first])}, {"params": second, "lr": 0.2}], steps=2
    )
    (first.sum() + second.sum()).backward()
    optimizer.step()
    scheduler.step()
    torch.testing.assert_close(1 - second, 2 * (1 - first))
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.05, 0.1])


def test_the_steps_are_positive() -> None:
    with pytest.raises(ValueError, match="steps is 0: give the optimizer steps"):
        Run(SETTINGS).optimizer([], steps=0)


@pytest.mark.parametrize(
    ("step", "metrics", "message"),
    [
        (3, {"loss": 1.0}, "report got the metrics loss; trainable was given val_loss"),
        (3, {}, "report got the metrics none; trainable was given val_loss"),
        (2, {"val_loss": 1.0}, "report got step 2 after step 2: steps start at 1 and grow"),
    ],
)
def test_a_wrong_report(step: int, metrics: dict[str, float], message: str) -> None:
    run = Run(SETTINGS, metrics=("val_loss",))
    run.report(2, val_loss=torch.tensor(1.0))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        run.report(step, **metrics)


def test_a_report_ends_the_function_of_a_pruned_trial() -> None:
    @adamtune.trainable(metrics={"val_loss": "minimize"})
    def train(run: Run) -> None:
        """Trains nothing."""
        try:
            run.report(1, val_loss=1.0)
        except Exception:
            pytest.fail("an exception that users catch")

    assert train.summary == "Trains nothing"
    with pytest.raises(Pruned):
        train(Run(SETTINGS, send=lambda message: "step" not in message))
    train(Run(SETTINGS))


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({}, "trainable needs a metric"),
        ({"val loss": "minimize"}, "'val loss' is no name"),
        ({"val_loss": "min"}, "val_loss has the direction 'min': write minimize or maximize"),
    ],
)
def test_wrong_metrics(metrics: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        adamtune.trainable(metrics=metrics)


def test_checkpoints_of_files_and_folders(tmp_path: Path) -> None:
    run = Run(SETTINGS, folder=tmp_path / "kept")
    assert run.restore() is None
    for content in ("1", "2"):
        (tmp_path / "state.txt").write_text(content)
        run.checkpoint(tmp_path / "state.txt")
    kept = Run(SETTINGS, folder=tmp_path / "kept").restore()
    assert kept is not None
    assert (kept.name, kept.read_text()) == ("state.txt", "2")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("3")
    run.checkpoint(tmp_path / "model")
    kept = run.restore()
    assert kept is not None
    assert (kept / "weights").read_text() == "3"
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_a_checkpoint_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    run = Run(SETTINGS, folder=tmp_path)
    (tmp_path / "draft-7").mkdir()
    (tmp_path / "draft-7" / "state").write_text("half")
    assert run.restore() is None


def test_a_run_without_a_search_keeps_nothing(tmp_path: Path) -> None:
    run = Run(SETTINGS)
    run.checkpoint(tmp_path)
    assert run.restore() is None
