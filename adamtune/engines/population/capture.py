"""Records what a function of static tensors computes, and replays it with next to no overhead.

Under ``vmap`` and autograd most of a small step's time goes into dispatch and allocation. A Capture runs
the function once, notes every ATen kernel that was reached below both, lays the results out in
memory that is reused as soon as a result is dead, and from then on calls the kernels alone:
the same kernels on the same values, so the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from adamtune.engines.population.replay import Bound, compiled

OPTIONS = {"dtype", "layout", "device", "pin_memory"}
SHAPE_ALONE = {"ones_like", "zeros_like", "full_like", "new_ones", "new_zeros", "new_full"}
"""Kernels that look at their argument's shape, not at its values."""


class CannotCapture(Exception):
    """The function does something that a replay would not repeat; the message says what."""


class Call(NamedTuple):
    """One kernel call, as recorded."""

    kernel: OpOverload
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any

    @property
    def mutates(self) -> bool:
        """Whether it writes to an argument."""
        return bool(self.kernel._schema.is_mutable)

    @property
    def written(self) -> list[Tensor]:
        """The arguments that it writes to."""
        arguments = self.kernel._schema.arguments
        given = dict(zip((each.name for each in arguments), self.args, strict=False)) | self.kwargs
        return _tensors([given.get(each.name) for each in arguments if each.is_write])

    @property
    def name(self) -> str:
        """The kernel's, without its overload's."""
        return str(self.kernel.overloadpacket.__name__)

    @property
    def is_view(self) -> bool:
        """Whether the result is nothing but another look at an argument's memory."""
        inputs = {_memory(each) for each in _tensors((self.args, self.kwargs))}
        return not self.mutates and all(_memory(each) in inputs for each in _tensors(self.result))


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Otherwise entering the mode imports torch._dynamo, which takes a second and is not used.
        return False

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise CannotCapture(f"it draws random numbers while it runs ({func})")
        if _depends_on_values(func, args):
            raise CannotCapture(f"its control flow depends on the data ({func})")
        result = func(*args, **(kwargs or {}))
        if any(each.is_conj() or each.is_neg() for each in _tensors(result)):
            raise CannotCapture(f"it looks at a tensor's conjugate or negative ({func})")
        self.calls.append(Call(func, args, kwargs or {}, result))
        return result


class Capture:
    """A recorded function.

    Args:
        function: takes the inputs and returns a tree of tensors. What it computes from anything but
            the inputs is computed once.
        inputs: trees of tensors whose memory the caller fills anew before each replay.

    Attributes:
        outputs: what the function returned, in memory that each replay overwrites.
        program: the kernel calls that compute them.
        memory: bytes of the planned memory.

    Raises:
        CannotCapture: the function draws random numbers, or looks at values to decide what to do.
    """

    def __init__(self, function: Callable[..., Any], *inputs: Any) -> None:
        with _Recorder() as recorder:
            outputs = function(*inputs)
        calls = _used(_depending_on(inputs, recorder.calls), outputs)
        planner = _Planner(calls, outputs)
        place = planner.place
        self.memory = planner.memory
        self.outputs = tree_map_only(Tensor, place, outputs)
        self.program = [_bound(call, place) for call in calls]

    @cached_property
    def replay(self) -> Callable[[], None]:
        """Computes the outputs from what the inputs hold now; to be called under ``torch.no_grad()``."""
        return compiled(self.program)


def _depends_on_values(kernel: OpOverload, args: tuple[Any, ...]) -> bool:
    """Whether what the kernel returns is no tensor, or one whose shape depends on values."""
    if kernel.overloadpacket in (torch.ops.aten.index, torch.ops.aten.index_put_, torch.ops.aten.index_put):
        return any(each.dtype in (torch.bool, torch.uint8) for each in _tensors(args[1]))
    return torch.Tag.data_dependent_output in kernel.tags or torch.Tag.dynamic_output_shape in kernel.tags


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _memory(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _depending_on(inputs: Any, calls: list[Call]) -> list[Call]:
    """The calls to repeat: those that compute from the inputs, or write what a repeated call changes."""
    varying = {_memory(each) for each in _tensors(inputs)}
    own = set(varying)
    for call in calls:
        varying |= {_memory(each) for each in call.written}
    kept = []
    for call in calls:
        if not {_memory(each) for each in call.written} <= own:
            raise CannotCapture(f"it changes a tensor of its own while it runs ({call.kernel})")
        if call.is_view:
            continue
        own |= {_memory(each) for each in _tensors(call.result)}
        read = () if call.name in SHAPE_ALONE else (call.args, call.kwargs)
        if {_memory(each) for each in _tensors((read, call.written, call.result))} & varying:
            varying |= {_memory(each) for each in _tensors(call.result)}
            kept.append(call)
    return kept


def _used(calls: list[Call], outputs: Any) -> list[Call]:
    """Without the calls whose results nobody reads."""
    wanted = {_memory(each) for each in _tensors(outputs)}
    kept = []
    for call in reversed(calls):
        if call.mutates or {_memory(each) for each in _tensors(call.result)} & wanted:
            wanted |= {_memory(each) for each in _tensors((call.args, call.kwargs))}
            kept.append(call)
    return kept[::-1]


class _Planner:
    """Gives every result memory of its own while it is alive, and to the next result afterwards."""

    def __init__(self, calls: list[Call], outputs: Any) -> None:
        self._last = self._last_uses(calls, outputs)
        self.memory = 0
        self._free: list[torch.UntypedStorage] = []
        self._home: dict[int, torch.UntypedStorage] = {}
        for position, call in enumerate(calls):
            self._settle(position, call)

    def place(self, tensor: Tensor) -> Tensor:
        """The tensor's counterpart in planned memory; the tensor itself if it was not computed here."""
        home = self._home.get(_memory(tensor))
        if home is None:
            return tensor.detach()
        empty = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
        return empty.set_(home, tensor.storage_offset(), tensor.shape, tensor.stride())

    @staticmethod
    def _last_uses(calls: list[Call], outputs: Any) -> dict[int, int]:
        last = {}
        for position, call in enumerate(calls):
            for tensor in _tensors((call.args, call.kwargs, call.result)):
                last[_memory(tensor)] = position
        return last | {_memory(tensor): len(calls) for tensor in _tensors(outputs)}

    def _settle(self, position: int, call: Call) -> None:
        arguments = _tensors((call.args, call.kwargs))
        dying = {
            memory: self._home[memory]
            for memory in map(_memory, arguments)
            if self._last[memory] == position and memory in self._home
        }
        if not call.mutates:
            for result in _tensors(call.result):
                donor = self._donor(call, result, arguments, dying)
                self._home[_memory(result)] = dying.pop(donor) if donor is not None else self._claim(result)
            unread = [
                _memory(each) for each in _tensors(call.result) if self._last[_memory(each)] == position
            ]
            dying |= {memory: self._home[memory] for memory in unread}
        self._free.extend(dying.values())

    @staticmethod
    def _donor(call: Call, result: Tensor, arguments: list[Tensor], dying: dict[int, Any]) -> int | None:
        """An argument that an elementwise kernel may overwrite: dead afterwards and laid out alike."""
        if torch.Tag.pointwise not in call.kernel.tags:
            return None
        layout = _layout(result)
        for memory in dying:
            if all(_layout(each) == layout for each in arguments if _memory(each) == memory):
                return memory
        return None

    def _claim(self, tensor: Tensor) -> torch.UntypedStorage:
        size = tensor.untyped_storage().nbytes()
        fitting = [each for each in self._free if size <= each.nbytes() <= 2 * size]
        if not fitting:
            self.memory += size
            return torch.empty(size, dtype=torch.uint8, device=tensor.device).untyped_storage()
        chosen = min(reversed(fitting), key=lambda each: each.nbytes())
        self._free = [each for each in self._free if each is not chosen]
        return chosen


def _layout(tensor: Tensor) -> tuple[Any, ...]:
    storage = tensor.untyped_storage().nbytes()
    return tensor.dtype, tensor.shape, tensor.stride(), tensor.storage_offset(), storage


def _bound(call: Call, place: Callable[[Tensor], Tensor]) -> Bound:
    """The call with its tensors in planned memory, writing into it where the kernel can."""
    args, kwargs = tree_map_only(Tensor, place, (call.args, call.kwargs))
    if call.mutates:
        return Bound(call.kernel, args, kwargs)
    results = [place(each) for each in _tensors(call.result)]
    if call.name in {"_to_copy", "clone"}:
        return Bound(torch.ops.aten.copy_.default, (results[0], args[0]), {})
    writing = _out_variant(call.kernel, len(results))
    if writing is None:
        return Bound(_compute_and_copy, (call.kernel, results, args, kwargs), {})
    kernel, names = writing
    taken = {each.name for each in kernel._schema.arguments}
    kept = {name: value for name, value in kwargs.items() if name in taken}
    return Bound(kernel, args, kept | dict(zip(names, results, strict=True)))


def _out_variant(kernel: OpOverload, results: int) -> tuple[OpOverload, list[str]] | None:
    """The overload that takes the same arguments and writes into given tensors."""
    wanted = [(each.name, str(each.type)) for each in kernel._schema.arguments if each.name not in OPTIONS]
    for name in kernel.overloadpacket.overloads():
        overload = getattr(kernel.overloadpacket, name)
        arguments = overload._schema.arguments
        outs = [a.name for a in arguments if a.is_out]
        rest = [(a.name, str(a.type)) for a in arguments if not a.is_out and a.name not in OPTIONS]
        if len(outs) == results and rest == wanted:
            return overload, outs
    return None


def _compute_and_copy(kernel: OpOverload, results: list[Tensor], args: Any, kwargs: Any) -> None:
    for result, value in zip(results, _tensors(kernel(*args, **kwargs)), strict=True):
        result.copy_(value)
