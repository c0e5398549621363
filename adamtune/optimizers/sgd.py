"""Stochastic gradient descent with momentum and Nesterov momentum, as ``torch.optim.SGD``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from adamtune.catalog import fraction, switch
from adamtune.optimizers.base import L2, LR, MOMENTUM, Optimizer, Values

if TYPE_CHECKING:
    from torch import Tensor


def rule(values: Values, step: Tensor, lr: Tensor) -> Mapping[str, Tensor | float]:
    """buffer = momentum buffer + (1 - dampening) g, without the dampening at the first step."""
    import torch

    momentum, nesterov = values["momentum"], values["nesterov"]
    buffered = momentum > 0
    # torch fills the buffer with the first gradient itself.
    gain = torch.where(step == 1, 1.0, 1 - values["dampening"])
    return {
        "l2": values["weight_decay"],
        "avg_decay": momentum,
        "avg_gain": torch.where(buffered, gain, 0.0),
        "from_avg": torch.where(buffered, lr * torch.where(nesterov > 0, momentum, 1.0), 0.0),
        "from_gradient": torch.where(buffered & (nesterov == 0), 0.0, lr),
    }


def check(values: Mapping[str, float]) -> None:
    """Raises ValueError where torch.optim.SGD would refuse the combination."""
    momentum, dampening = values.get("momentum", 0), values.get("dampening", 0)
    if values.get("nesterov") and (momentum <= 0 or dampening > 0):
        raise ValueError(
            f"sgd with nesterov needs momentum above 0 and dampening 0, "
            f"got momentum={momentum:g}, dampening={dampening:g}"
        )


SGD = Optimizer(
    name="sgd",
    summary="Stochastic gradient descent, with momentum or Nesterov momentum",
    reference="Sutskever et al., ICML 2013",
    hyperparameters=(
        LR,
        MOMENTUM,
        fraction("dampening", 0.0, "part of the gradient kept out of the momentum buffer"),
        switch("nesterov", "whether to use Nesterov momentum (needs momentum, no dampening)"),
        L2,
    ),
    torch_class="torch.optim:SGD",
    implementation="fused",
    state={"momentum_buffer": "exp_avg"},
    rule=rule,
    check=check,
)
