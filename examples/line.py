"""A training loop in torch as a function."""

import torch

import adamtune


@adamtune.trainable(metrics={"val_loss": "minimize"})
def train(run: adamtune.Run) -> None:
    """Fits a line."""
    torch.manual_seed(run.seed)
    model = torch.nn.Linear(1, 1)
    inputs = torch.rand(64, 1)
    target = 3 * inputs + run.settings["noise"] * torch.randn(64, 1)
    optimizer, scheduler = run.optimizer(model.parameters(), steps=1000)
    for step in range(1, 1001):
        optimizer.zero_grad()
        loss = (model(inputs) - target).square().mean()
        loss.backward()
        optimizer.step()
        scheduler.step()
        if step % 100 == 0:
            run.report(step, val_loss=loss.item())
