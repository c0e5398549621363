"""What the catalog's ranges cannot say: hyperparameters that do not go together. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping


def check(optimizer: str, hyperparameters: Mapping[str, float]) -> None:
    """Raises ValueError where torch.optim would refuse the combination; missing ones count as 0."""
    momentum = hyperparameters.get("momentum", 0)
    dampening = hyperparameters.get("dampening", 0)
    if optimizer == "sgd" and hyperparameters.get("nesterov") and (momentum <= 0 or dampening > 0):
        raise ValueError(
            f"sgd with nesterov wants momentum above 0 and dampening 0, "
            f"got momentum={momentum:g}, dampening={dampening:g}"
        )
