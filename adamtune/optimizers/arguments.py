"""The optimizers' classes, and the catalog's hyperparameters as their constructors name them. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adamtune.optimizers.catalog import OPTIMIZERS

CLASSES: Mapping[str, str] = {
    "adam": "torch.optim:Adam",
    "adamw": "torch.optim:AdamW",
    "amsgrad": "torch.optim:Adam",
    "nadam": "torch.optim:NAdam",
    "radam": "torch.optim:RAdam",
    "adabound": "adamtune.optimizers.adabound:AdaBound",
    "sgd": "torch.optim:SGD",
    "rmsprop": "torch.optim:RMSprop",
}
"""Where each optimizer's class is, as ``pkgutil.resolve_name`` takes it."""
RENAMED = {"bound_gamma": "gamma"}


def arguments(optimizer: str, hyperparameters: Mapping[str, float]) -> dict[str, Any]:
    """The constructor's keyword arguments, in the catalog's order; switches become bool."""
    result: dict[str, Any] = {}
    for each in OPTIMIZERS[optimizer].hyperparameters:
        value = hyperparameters[each.name]
        if each.name == "beta1":
            result["betas"] = (value, hyperparameters["beta2"])
        elif each.name != "beta2":
            result[RENAMED.get(each.name, each.name)] = bool(value) if each.kind is bool else value
    if optimizer == "amsgrad":
        result["amsgrad"] = True
    return result
