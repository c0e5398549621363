"""What a model's loss and metrics are, computed by the model itself, and whether they are numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from adamtune.engines.eager import eager
from adamtune.engines.shared_state import shared_state
from adamtune.engines.torch_private import (
    change_counts,
    storage_id,
    tensor_places,
    tree_leaves,
    tree_map,
    tree_map_only,
)
from adamtune.errors import UsageError
from adamtune.tasks.base import Rows
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.pytree import count_rows, leaves, map_rows
from adamtune.tasks.randomness import seeded

BATCHES = 32
"""A model is called on at most as many validation rows at once as this many batches have."""


_CHANGING: WeakKeyDictionary[LoadedTask, bool] = WeakKeyDictionary()
"""Whether the metrics of a task that has been scored change their rows in place, to hide tokens, say."""


def are_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no number of the tensors is NaN or infinite."""
    return all(bool(each.isfinite().all()) for each in tensors)


def gradients_of(loss: Tensor, parameters: Mapping[str, Tensor]) -> dict[str, Tensor | None]:
    """The gradient of each parameter, as a training loop computes it; None where the loss has none."""
    loss.backward()
    found = {name: each.grad for name, each in parameters.items()}
    for each in parameters.values():
        each.grad = None
    return found


def checked_loss(loss: Any) -> Tensor:
    """The loss of a batch, if it is one.

    Raises:
        UsageError: it is not one real number.
    """
    if not isinstance(loss, Tensor) or loss.dim() or not loss.is_floating_point():
        found = repr(loss)
        if isinstance(loss, Tensor):
            found = f"a tensor of shape {tuple(loss.shape)} and type {loss.dtype}"
        wanted = "return one real number, such as the mean over the batch"
        if isinstance(loss, float):
            wanted = "return one real number as a tensor, without item() or float()"
        raise UsageError(f"loss returned {found}: {wanted}")
    return loss


def plain_metrics(task: LoadedTask, module: nn.Module, rows: Rows, seed: int | None) -> dict[str, float]:
    """The task's metrics of a model over ``rows``, by name.

    Args:
        task: the task.
        module: its model, which is in evaluation mode afterwards.
        rows: the rows, in a whole.
        seed: of the random draws of the metrics. With None, they may draw nothing, and the global generators
            are left alone.

    Raises:
        UsageError: a metric is not one number.
    """
    module.eval()
    kept = task.origin or task
    if _CHANGING.get(kept, True):  # the next evaluation needs the rows as they are
        rows = map_rows(torch.clone, rows)
    before = change_counts(*leaves(rows))
    with (
        nullcontext() if seed is None else seeded(seed, next(leaves(rows)).device),
        _in_batches(module, count_rows(rows), BATCHES * task.batch_size),
        shared_state(task).of(task, module),
        _kept_tensors(module),
        eager(),
    ):
        try:
            with torch.no_grad():
                scores = task.scores(module, rows)
        except RuntimeError as error:
            if "grad" not in str(error):
                raise
            with torch.enable_grad():  # a loss that takes gradients itself
                scores = task.scores(module, rows)
    _CHANGING[kept] = _CHANGING.get(kept, False) or change_counts(*leaves(rows)) != before
    return {name: _number(name, score) for name, score in scores.items()}


@contextmanager
def _kept_tensors(module: nn.Module) -> Iterator[None]:
    """Puts parameters and buffers back that have changed, such as a moving average that metrics have moved.

    How often a training is evaluated does not change it then, in lockstep or not.
    """
    before = [
        (own, name, tensor, change_counts(tensor), storage_id(tensor), tensor.detach().clone())
        for own, name, tensor in tensor_places(module)
        if tensor.layout == torch.strided
    ]
    try:
        yield
    finally:
        for own, name, tensor, count, place, value in before:
            own[name] = tensor
            if change_counts(tensor) != count or storage_id(tensor) != place:
                tensor.data.copy_(value)


def holdout_metrics(
    holdouts: Mapping[str, Rows], score: Callable[[Rows], Mapping[str, float]]
) -> dict[str, float]:
    """The metrics of the holdouts, such as ``test/loss``.

    Args:
        holdouts: rows by name.
        score: computes the task's metrics of rows.
    """
    return {
        f"{holdout}/{name.removeprefix('val_')}": value
        for holdout, rows in holdouts.items()
        for name, value in score(rows).items()
    }


def _number(name: str, score: Any) -> float:
    try:
        return float(score)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"the metric {name} is {score!r}: return one number") from error


@contextmanager
def _in_batches(module: nn.Module, rows: int, most: int) -> Iterator[None]:
    """While it is entered, a call of the module on more than ``most`` of ``rows`` rows is many calls.

    The results are put together, so that a metric of all rows sees them all: it need not be a mean. A result
    without a row for each row of the arguments is that of one call.
    """
    if rows <= most:
        yield
        return
    forward, replaced = module.forward, vars(module).get("forward")

    def part(tree: Any, first: int) -> Any:
        own = slice(first, first + most)
        return tree_map_only(Tensor, lambda each: each[own] if _has_rows(each, rows) else each, tree)

    def in_batches(*args: Any, **kwargs: Any) -> Any:
        if not any(_has_rows(each, rows) for each in tree_leaves((args, kwargs))):
            return forward(*args, **kwargs)
        results = []
        for first in range(0, rows, most):
            result = forward(*part(args, first), **part(kwargs, first))
            if not all(_has_rows(each, min(most, rows - first)) for each in tree_leaves(result)):
                return forward(*args, **kwargs)
            results.append(result)
        return tree_map(lambda *parts: torch.cat(parts), *results)

    module.forward = in_batches
    try:
        yield
    finally:
        del module.forward
        if replaced is not None:  # some libraries give a model a forward of its own
            module.forward = replaced


def _has_rows(leaf: Any, rows: int) -> bool:
    return isinstance(leaf, Tensor) and leaf.dim() > 0 and len(leaf) == rows
