"""What becomes of a step whose replay raises an error, for an index out of range, say.

An error in a replay ends the computation of all rows, though it may be about one of them alone, or about one
that has no member.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from math import nan

import torch
from torch import Tensor

from adamtune.engines.divergence import has_diverged
from adamtune.engines.metrics import checked_loss, gradients_of
from adamtune.engines.population.attributes import changed_attributes, changed_values
from adamtune.engines.population.draws import GLOBAL_STATE, Key
from adamtune.engines.population.gradients import BatchedTask
from adamtune.engines.population.plain_module import PlainModule
from adamtune.errors import UsageError, memory_error
from adamtune.tasks.base import Rows
from adamtune.tasks.pytree import map_rows
from adamtune.tasks.randomness import derive

Computed = tuple[Tensor, dict[str, Tensor | None]]
"""A loss, and gradients by name."""


def replays(replay: Callable[[], None], tensors: Iterable[Tensor], members: int) -> bool:
    """Whether a replay succeeds, at the latest when rows without a member have the values of the first row.

    Args:
        replay: computes all rows; where it raises an error, nothing has changed.
        tensors: what it reads, ``[rows, ...]``.
        members: the rows that have one.
    """
    try:
        replay()
    except Exception as error:
        if memory_error(error) is not None:
            raise
        for each in tensors:
            each[members:] = each[:1].clone()
        try:
            replay()
        except Exception:
            return False
    return True


class RowByRow:
    """Computes losses, gradients and buffers of one row after the other, by the model itself.

    Args:
        task: the task, and the method by which it is computed for all members.
        tensors: parameters and buffers of all rows by name, ``[rows, *shape]``; buffers are changed in place.
        losses: ``[rows]``, which are written to.
        gradients: by name, ``[rows, *shape]``, which are written to.
    """

    def __init__(
        self,
        task: BatchedTask,
        tensors: Mapping[str, Tensor],
        losses: Tensor,
        gradients: Mapping[str, Tensor],
    ) -> None:
        self._source, self._tensors, self._kept = task.source, tensors, task.method.kept
        self._losses, self._gradients = losses, gradients
        self._plain: PlainModule | None = None

    def compute(self, row: int, key: Key, batch: Rows, scale: Tensor | None) -> bool:
        """Computes a row; whether it is not the row of a member that has diverged, with NaN for all numbers.

        Args:
            row: the row.
            key: what its draws derive from.
            batch: its batch.
            scale: a factor on its gradients, ``[]``.

        Raises:
            UsageError: the step trains other weights than recorded, or changes an attribute of the model
                that no step changed before.
            Exception: what the user's code raises for another reason.
        """
        with GLOBAL_STATE:
            plain = self._module()
            parameters = dict(plain.module.named_parameters())
            named = {**parameters, **dict(plain.module.named_buffers())}
            for name, value in self._tensors.items():
                named[name].data.copy_(value[row])
            trainable = {name: each for name, each in parameters.items() if each.requires_grad}

            def compute() -> Computed:
                with plain.as_captured(derive(key.seed, "step", key.replicate, key.batch)):
                    # Members may share the batch, and a model may change it in place.
                    loss = checked_loss(self._source.task.loss(plain.module, map_rows(torch.clone, batch)))
                    scaled = loss if scale is None else (loss * scale).to(loss.dtype)
                    return loss.detach(), gradients_of(scaled, trainable)

            try:
                loss, gradients = self._without_changes(plain, compute)
            except Exception as error:
                if not has_diverged(error, plain.module, compute):
                    raise
                self._losses[row] = nan
                for each in self._gradients.values():
                    each[row] = nan
                return False
        own = {name: each for name, each in gradients.items() if each is not None}
        self._check_trained(own.keys())
        self._losses[row] = loss
        for name, each in self._gradients.items():
            each[row] = own[name]
        now = {**dict(plain.module.named_parameters()), **dict(plain.module.named_buffers())}
        for name, value in self._tensors.items():
            value[row] = now[name].detach()
        return True

    def _check_trained(self, names: Set[str]) -> None:
        """Weights without a gradient are left alone, and in lockstep these are the same for all members."""
        if other := sorted(names ^ self._gradients.keys()):
            raise UsageError(
                f"a step trains other weights than the first steps did: {other[0]} has"
                f" {'a' if other[0] in names else 'no'} gradient now; train with engine: sequential"
            )

    def _module(self) -> PlainModule:
        """The model, always the same, after its first call, at which it may set up attributes."""
        if self._plain is None:
            self._plain = PlainModule(self._source, 0)
            self._plain.step(0, self._plain.batch(0))
        return self._plain

    def _without_changes(self, plain: PlainModule, compute: Callable[[], Computed]) -> Computed:
        """What ``compute`` returns, if it changes no attribute that may decide something in a later step."""
        found: list[Computed] = []
        changed = changed_values(plain.module, lambda: found.append(compute()))
        if new := changed_attributes(plain.module, changed) - self._kept:
            raise UsageError(
                f"a step changes the attribute {min(new)} of the model, which the first steps did not: make"
                " it a buffer (register_buffer), or train with engine: sequential"
            )
        return found[0]
