"""The optimizers by name, and how one is built in torch. Torch-free to import.

A module of this package that defines an :class:`~adamtune.optimizers.base.Optimizer` adds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from adamtune import optimizers
from adamtune.catalog import discover
from adamtune.optimizers.base import Optimizer
from adamtune.recipe import DecayOn

if TYPE_CHECKING:
    import torch
    from torch import Tensor

OPTIMIZERS: Mapping[str, Optimizer] = discover(optimizers.__name__, optimizers.__path__, Optimizer)


def arguments(name: str, hyperparameters: Mapping[str, float]) -> dict[str, Any]:
    """The keyword arguments of the optimizer's torch class, in the catalog's order; switches become bool."""
    optimizer = OPTIMIZERS[name]
    result: dict[str, Any] = {}
    for each in optimizer.hyperparameters:
        value = hyperparameters[each.name]
        # torch takes the two betas as one argument, in the place of the first.
        if each.name == "beta1":
            result["betas"] = (value, hyperparameters["beta2"])
        elif each.name != "beta2":
            result[optimizer.renamed.get(each.name, each.name)] = bool(value) if each.kind is bool else value
    return result | dict(optimizer.constants)


def build(
    name: str,
    parameters: Iterable[Tensor] | Iterable[dict[str, Any]],
    hyperparameters: Mapping[str, float],
    weight_decay_on: DecayOn = "all",
) -> torch.optim.Optimizer:
    """The optimizer of a catalog name, in the implementation that is fastest on a CPU.

    Args:
        name: a name in ``OPTIMIZERS``.
        parameters: what to optimize, all on one device: tensors, or groups as torch takes them.
        hyperparameters: every hyperparameter of the optimizer, by catalog name.
        weight_decay_on: the parameters that decay.

    Raises:
        ValueError: the hyperparameters do not go together.
    """
    import torch

    optimizer = OPTIMIZERS[name]
    optimizer.check(hyperparameters)
    groups = torch.optim.Optimizer(parameters, {}).param_groups
    options = arguments(name, hyperparameters)
    if optimizer.implementation == "fused":
        fitting = {"cpu", "cuda"}
        options["fused"] = all(
            each.is_floating_point() and each.device.type in fitting
            for group in groups
            for each in group["params"]
        )
    elif optimizer.implementation == "foreach":
        options["foreach"] = True
    if weight_decay_on == "matrices":
        groups = [part for group in groups for part in _by_shape(group)]
    built: torch.optim.Optimizer = optimizer_class(name)(groups, **options)
    return built


def _by_shape(group: dict[str, Any]) -> list[dict[str, Any]]:
    """A group as two: parameters of two dimensions and more, then the others, which do not decay."""
    matrices, others = (
        [each for each in group["params"] if (each.dim() >= 2) == wide] for wide in (True, False)
    )
    return [{**group, "params": matrices}, {**group, "params": others, "weight_decay": 0.0}]


def optimizer_class(name: str) -> type[torch.optim.Optimizer]:
    """The torch class of a name in ``OPTIMIZERS``."""
    found: type[torch.optim.Optimizer] = resolve_name(OPTIMIZERS[name].torch_class)
    return found
