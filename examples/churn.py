"""A table with numbers and categories from a CSV file."""

import pandas as pd
import torch.nn.functional as F
from torch import nn

from adamtune import Data, Task


class Churn(Task):
    """Which customers leave."""

    directions = {"accuracy": "maximize"}

    hidden: int = 64
    dropout: float = 0.1
    batch_size: int = 32
    epochs: int = 20

    def data(self) -> Data:
        table = pd.read_csv(self.path("churn.csv"))
        columns = pd.get_dummies(table.drop(columns="left"), dtype=float)  # one column for each category
        return Data.split(columns, table["left"], validation=0.2, test=0.2, stratify=table["left"])

    def model(self) -> nn.Module:
        return nn.Sequential(
            nn.LazyBatchNorm1d(),  # standardizes the columns
            nn.LazyLinear(self.hidden),
            nn.BatchNorm1d(self.hidden),
            nn.ReLU(),
            nn.Dropout(self.dropout),
            nn.Linear(self.hidden, 2),
        )

    def loss(self, model, batch):
        columns, left = batch
        return F.cross_entropy(model(columns), left)

    def metrics(self, model, batch):
        columns, left = batch
        return {"accuracy": (model(columns).argmax(-1) == left).float().mean()}
