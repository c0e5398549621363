"""Recorded kernel calls, and the plan of the memory that their results are written to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from adamtune.engines.torch_private import (
    OpOverload,
    arguments,
    is_mutable,
    operator_name,
    storage_id,
    tree_leaves,
)


def tensors_in(tree: Any) -> list[Tensor]:
    """The tensors in nested tuples, lists and dicts, in order."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def storages_of(tree: Any) -> set[int]:
    """The storages, by ``storage_id``, of the tensors in nested tuples, lists and dicts."""
    return {storage_id(each) for each in tensors_in(tree)}


class RecordedCall(NamedTuple):
    """One kernel call as it was made while recording.

    Attributes:
        kernel: the overload that was called.
        args: its positional arguments.
        kwargs: its keyword arguments.
        result: what it returned: a tensor, or a tree of tensors.
    """

    kernel: OpOverload
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any

    @property
    def mutates(self) -> bool:
        """Whether the call writes to an argument."""
        return is_mutable(self.kernel)

    @property
    def written(self) -> list[Tensor]:
        """The arguments that the call writes to."""
        formal = arguments(self.kernel)
        given = dict(zip((each.name for each in formal), self.args, strict=False)) | self.kwargs
        return tensors_in([given.get(each.name) for each in formal if each.is_write])

    @property
    def inputs(self) -> list[Tensor]:
        """All tensors among the arguments."""
        return tensors_in((self.args, self.kwargs))

    @property
    def results(self) -> list[Tensor]:
        """All tensors that the call returned."""
        return tensors_in(self.result)

    @property
    def name(self) -> str:
        """The kernel's name without its overload's: "add", say."""
        return operator_name(self.kernel)

    @property
    def is_view(self) -> bool:
        """Whether the results are nothing but other views of the arguments' memory."""
        return not self.mutates and storages_of(self.result) <= storages_of(self.inputs)


class MemoryPlan:
    """Memory for every result while a later call or the caller reads it, and for another one afterwards.

    Args:
        calls: the calls to replay, in order.
        outputs: a tree of the tensors that the caller reads after the last call.

    Attributes:
        size: bytes of all memory together.
    """

    def __init__(self, calls: Sequence[RecordedCall], outputs: Any) -> None:
        self.size = 0
        self._last_use = _last_uses(calls, outputs)
        self._free: list[torch.UntypedStorage] = []
        self._planned: dict[int, torch.UntypedStorage] = {}
        for position, call in enumerate(calls):
            self._plan(position, call)

    def place(self, tensor: Tensor) -> Tensor:
        """A recorded tensor's counterpart in planned memory; itself if none of the calls computed it."""
        # Inputs, and what is computed once, stay where they are.
        storage = self._planned.get(storage_id(tensor))
        if storage is None:
            return tensor.detach()
        empty = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
        return empty.set_(storage, tensor.storage_offset(), tensor.shape, tensor.stride())

    def _plan(self, position: int, call: RecordedCall) -> None:
        inputs = call.inputs
        dying = {
            each: self._planned[each]
            for each in map(storage_id, inputs)
            if self._last_use[each] == position and each in self._planned
        }
        # A call that writes to its arguments returns these: there is nothing to place.
        if not call.mutates:
            for result in call.results:
                reused = _overwritable(call, result, inputs, dying)
                self._planned[storage_id(result)] = (
                    self._allocate(result) if reused is None else dying.pop(reused)
                )
            # Results that no call reads, such as the indices of a sort, are free again at once.
            unread = [each for each in map(storage_id, call.results) if self._last_use[each] == position]
            dying |= {each: self._planned[each] for each in unread}
        self._free.extend(dying.values())

    def _allocate(self, tensor: Tensor) -> torch.UntypedStorage:
        """The smallest free storage of up to twice the tensor's size, or else a new one."""
        size = tensor.untyped_storage().nbytes()
        fitting = [each for each in self._free if size <= each.nbytes() <= 2 * size]
        if not fitting:
            self.size += size
            return torch.empty(size, dtype=torch.uint8, device=tensor.device).untyped_storage()
        # Of equal ones the latest: it is the most likely to be in the cache still.
        chosen = min(reversed(fitting), key=lambda each: each.nbytes())
        self._free = [each for each in self._free if each is not chosen]
        return chosen


def _last_uses(calls: Sequence[RecordedCall], outputs: Any) -> dict[int, int]:
    """The position of the last call that uses each storage; past the end if the caller reads it."""
    last: dict[int, int] = {}
    for position, call in enumerate(calls):
        last |= dict.fromkeys(storages_of((call.args, call.kwargs, call.result)), position)
    return last | dict.fromkeys(storages_of(outputs), len(calls))


def _overwritable(
    call: RecordedCall, result: Tensor, inputs: Sequence[Tensor], dying: Mapping[int, object]
) -> int | None:
    """A storage of ``dying`` that the call may overwrite with ``result`` while it reads it, or None.

    An elementwise kernel reads an element of each argument before it writes the result's at that place. So it
    may overwrite an argument with the result's layout that no later call reads.
    """
    if torch.Tag.pointwise not in call.kernel.tags:
        return None
    layout = _layout(result)
    for storage in dying:
        if all(_layout(each) == layout for each in inputs if storage_id(each) == storage):
            return storage
    return None


def _layout(tensor: Tensor) -> tuple[Any, ...]:
    size = tensor.untyped_storage().nbytes()
    return tensor.dtype, tensor.shape, tensor.stride(), tensor.storage_offset(), size
