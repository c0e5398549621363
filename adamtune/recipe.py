"""How every trial of a study is trained, beside its hyperparameters. Free of torch."""

from __future__ import annotations

from typing import Literal, NamedTuple

Precision = Literal["float32", "bfloat16", "float16", "float64"]
DecayOn = Literal["all", "matrices"]


class Recipe(NamedTuple):
    """What all trainings of a study share.

    Attributes:
        precision: float32 leaves weights and data in the precision of the model; bfloat16 and float16 compute
            losses and metrics under ``torch.autocast``, float16 with a loss scale; float64 converts weights
            and data.
        weight_decay_on: the parameters that weight decay shrinks: all, or those of two dimensions and more.
        accumulate: batches of every optimizer step, whose gradients are averaged.
    """

    precision: Precision = "float32"
    weight_decay_on: DecayOn = "all"
    accumulate: int = 1

    @property
    def autocast(self) -> bool:
        """Whether losses and metrics are computed under ``torch.autocast``."""
        return self.precision in ("bfloat16", "float16")

    @property
    def loss_scale(self) -> bool:
        """Whether the loss is scaled in the backward pass, as ``torch.amp.GradScaler`` does."""
        return self.precision == "float16"


USUAL = Recipe()
"""The recipe of a study that asks for nothing else."""
