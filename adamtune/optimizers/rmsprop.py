"""RMSprop, as ``torch.optim.RMSprop``: eps is added after the root."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from adamtune.catalog import decay, positive, switch
from adamtune.optimizers.base import EPS, L2, MOMENTUM, Optimizer, Values

if TYPE_CHECKING:
    from torch import Tensor


def rule(values: Values, step: Tensor, lr: Tensor) -> Mapping[str, Tensor | float]:
    """g over the root of its running mean square; momentum gathers the normalised gradients."""
    import torch

    alpha, momentum = values["alpha"], values["momentum"]
    buffered = momentum > 0
    return {
        "l2": values["weight_decay"],
        "sq_decay": alpha,
        "sq_gain": 1 - alpha,
        "grad_avg_gain": (1 - alpha) * values["centered"],
        "root": 1.0,
        "floor": values["eps"],
        # torch puts the normalised gradient into the buffer; without momentum it has no buffer.
        "scale_first": buffered.double(),
        "avg_decay": momentum,
        "avg_gain": buffered.double(),
        "from_avg": torch.where(buffered, lr, 0.0),
        "from_gradient": torch.where(buffered, 0.0, lr),
    }


RMSPROP = Optimizer(
    name="rmsprop",
    summary="The gradient over the root of its running mean square",
    reference="Hinton, Coursera lecture 6e, 2012",
    hyperparameters=(
        positive("lr", 1e-2, "learning rate"),
        decay("alpha", 0.99, "decay of the squared gradient's running mean", complement=True),
        EPS,
        MOMENTUM,
        switch("centered", "whether to divide by the standard deviation instead"),
        L2,
    ),
    torch_class="torch.optim:RMSprop",
    implementation="foreach",
    state={"square_avg": "exp_avg_sq", "grad_avg": "grad_avg", "momentum_buffer": "exp_avg"},
    rule=rule,
)
