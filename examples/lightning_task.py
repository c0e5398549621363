"""A LightningModule as a task, whose trials are trained in lockstep.

The loop is adamtune's, without a trainer. The optimizer and the schedule are those of the study: nothing
calls ``configure_optimizers``, and its parameter groups have no effect. Where they matter, use a function as
in ``lightning_trainer.py``: ``run.optimizer`` takes groups.
"""

import warnings

import lightning
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from adamtune import Data, Task

warnings.filterwarnings("ignore", "You are trying to `self.log")  # which does nothing without a trainer


class Classifier(lightning.LightningModule):
    """A module as it is trained elsewhere."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.Linear(64, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, 10)
        )

    def forward(self, images):
        return self.net(images)

    def training_step(self, batch, batch_idx):
        images, digits = batch
        loss = F.cross_entropy(self(images), digits)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


class Digits(Task):
    """Handwritten digits with a LightningModule."""

    directions = {"accuracy": "maximize"}

    hidden: int = 64

    def data(self) -> Data:
        images, digits = load_digits(return_X_y=True)
        return Data.split(images / 16, digits, validation=0.2, test=0.2)

    def model(self) -> nn.Module:
        return Classifier(self.hidden)

    def loss(self, model, batch):
        return model.training_step(batch, 0)

    def metrics(self, model, batch):
        images, digits = batch
        return {"accuracy": (model(images).argmax(-1) == digits).float().mean()}
