"""An LSTM on sequences."""

import torch
import torch.nn.functional as F
from torch import nn

from adamtune import Data, Task


class Memory(nn.Module):
    """An LSTM whose last output becomes one number."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)

    def forward(self, sequences):
        outputs, _ = self.lstm(sequences)
        return self.head(outputs[:, -1]).squeeze(-1)


class Adding(Task):
    """The adding problem: the sum of the two numbers of a sequence that are marked."""

    hidden: int = 32
    length: int = 10
    epochs: int = 5

    def data(self) -> Data:
        numbers = torch.rand(2500, self.length)
        marked = torch.rand(2500, self.length).topk(2).indices
        marks = torch.zeros(2500, self.length).scatter(1, marked, 1.0)
        return Data.split(torch.stack([numbers, marks], -1), (numbers * marks).sum(1), validation=0.2)

    def model(self) -> nn.Module:
        return Memory(self.hidden)

    def loss(self, model, batch):
        sequences, sums = batch
        return F.mse_loss(model(sequences), sums)
