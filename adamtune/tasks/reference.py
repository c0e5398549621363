"""What the tasks that come with adamtune have in common."""

from __future__ import annotations

from dataclasses import dataclass

from adamtune.tasks.data.split import Split
from adamtune.tasks.protocol import Rows
from adamtune.tasks.rows import evaluation_interval


@dataclass(frozen=True, eq=False)
class ReferenceTask:
    """A data set with a budget; a task adds the model, the loss and the scores to it."""

    data: Split
    batch_size: int
    steps: int

    @property
    def train(self) -> Rows:
        """The rows to train on."""
        return self.data.train

    @property
    def validation(self) -> Rows:
        """The rows to judge by."""
        return self.data.validation

    @property
    def data_hash(self) -> str:
        """SHA-256 (hex) of both."""
        return self.data.hash

    @property
    def evaluate_every(self) -> int:
        """A tenth of the steps."""
        return evaluation_interval(self.steps)
