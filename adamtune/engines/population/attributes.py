"""What a step changes beside parameters and buffers, such as counters: a capture does not repeat it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import isclose
from typing import Any

import torch
from torch import Tensor, nn

from adamtune.engines.base import Source
from adamtune.engines.batching.observed import Observed
from adamtune.engines.metrics import plain_metrics
from adamtune.engines.population.capture import CannotCapture
from adamtune.engines.population.plain_module import TOLERANCE, PlainModule, compare
from adamtune.engines.python_state import (
    GENERATORS,
    changed,
    leaves,
    model_roots,
    replace_leaves,
    snapshots,
)
from adamtune.engines.shared_state import shared_state
from adamtune.errors import memory_error
from adamtune.tasks.pytree import take_rows
from adamtune.tasks.source import line_of_change

KEPT = Tensor | int | float | str
"""Values that a step may keep, if nothing is computed with them."""
ADVICE = "make it a buffer (register_buffer)"


def check_state(source: Source) -> frozenset[str]:
    """Refuses a model whose steps change more than parameters and buffers: a capture would not repeat it.

    Returns:
        The attributes of modules that change, and that nobody reads.

    Raises:
        CannotCapture: a step changes a value that it reads, or draws from Python's or NumPy's generator.
    """
    plain, twin = PlainModule(source, 0), PlainModule(source, 0)
    _check_layouts(plain.module)

    def take_first_steps(each: PlainModule) -> dict[str, Any]:
        each.step(0, each.batch(0))  # what a model sets up at its first call does not matter
        return changed_values(each.module, lambda: each.step(1, each.batch(1)))

    found = take_first_steps(plain)
    if source.foreign_draws is not None:
        raise CannotCapture(f"the loss draws from {source.foreign_draws}: draw with torch instead")
    for name in shared_state(source.task).changed(source.task):
        raise CannotCapture(f"a step changes the {name}: {ADVICE}")
    for name, value in found.items():
        if isinstance(value, GENERATORS):
            raise CannotCapture(
                f"the loss draws from the attribute {name}: draw with torch without a generator"
            )
        if not isinstance(value, KEPT):
            raise CannotCapture(f"a step changes the {_attribute(plain.module, name)}: {ADVICE}")
    # A value that is only kept for others to look at does no harm: all is the same with another one.
    kept = take_first_steps(twin)
    try:
        _spoil(twin.module, kept)
        _compare_steps(plain, twin)
        if found:
            _compare_metrics(twin)
    except Exception as error:
        if memory_error(error) is not None:
            raise
        for name in found:
            raise CannotCapture(f"a step changes the {_attribute(plain.module, name)}: {ADVICE}") from error
        raise CannotCapture(
            "the loss changes from call to call with the same weights, batch and draws: if it counts its"
            " calls, keep the count in a buffer of the model (register_buffer)"
        ) from error
    return changed_attributes(plain.module, found)


@torch.no_grad()
def _spoil(module: nn.Module, kept: Mapping[str, Any]) -> None:
    """Replaces values behind attributes by others: tensors by NaN, numbers by such as cannot be used."""
    tensors = _tensors(module)
    before = [each.clone() for each in tensors]
    for value in kept.values():
        if isinstance(value, Tensor):
            value.detach().fill_(torch.nan if value.is_floating_point() or value.is_complex() else -1)
    for target, value in zip(tensors, before, strict=True):
        target.copy_(value)  # a kept tensor may be part of them
    numbers = {name: Observed() for name, value in kept.items() if not isinstance(value, Tensor)}
    replace_leaves(model_roots(module), {id(each) for each in module.modules()}, numbers)


def _compare_metrics(trained: PlainModule) -> None:
    """Raises an error if metrics of a model in training differ from those of a new one with its weights."""
    source, new = trained.source, PlainModule(trained.source, trained.replicate)
    for tensor, value in zip(_tensors(new.module), _tensors(trained.module), strict=True):
        tensor.data.copy_(value)
    rows = take_rows(source.validation, slice(source.task.batch_size))
    found, wanted = (plain_metrics(source.task, each.module, rows, seed=0) for each in (trained, new))
    alike = (isclose(found[name], wanted[name], rel_tol=1e-4) for name in found)
    if found.keys() != wanted.keys() or not all(alike):
        raise CannotCapture("the metrics depend on what the steps of the training keep")


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _attribute(module: nn.Module, name: str) -> str:
    """What ``changed_values`` names, in words, with the line that changes it if that is known."""
    (root,) = changed_attributes(module, [name])
    line = line_of_change(type(model_roots(module)[root].owner), root.rpartition(".")[2])
    return f"attribute {name}" + (f" ({line})" if line else "")


def _check_layouts(module: nn.Module) -> None:
    """Raises CannotCapture if a parameter or a buffer is sparse."""
    for name, each in (*module.named_parameters(), *module.named_buffers()):
        if each.layout != torch.strided:
            raise CannotCapture(f"the tensor {name} is sparse: lockstep takes dense ones alone")


def _compare_steps(plain: PlainModule, twin: PlainModule) -> None:
    """Takes the third step of both. Raises Different if they differ."""
    (loss, gradients), (wanted, others) = (each.step(2, each.batch(2)) for each in (plain, twin))
    compare("the ", {"loss": loss}, {"loss": wanted}, TOLERANCE)
    found = {name: value for name, value in gradients.items() if value is not None}
    compare("the gradient of ", found, {name: others[name] for name in found}, TOLERANCE)
    compare("the buffer ", plain.tensors(trained=False), twin.tensors(trained=False), TOLERANCE)


def changed_values(module: nn.Module, step: Callable[[], object]) -> dict[str, Any]:
    """The values in attributes of modules that a step changes, by where they are."""
    known = {id(each) for each in module.modules()}
    before = snapshots(model_roots(module), known)
    step()
    now = leaves(model_roots(module), known)
    return {name: now.get(name) for name in changed(before, snapshots(model_roots(module), known))}


def changed_attributes(module: nn.Module, changed: Iterable[str]) -> frozenset[str]:
    """The attributes that ``changed_values`` are in, by their dotted names."""
    return frozenset(
        max((root for root in model_roots(module) if name.startswith(root)), key=len) for name in changed
    )
