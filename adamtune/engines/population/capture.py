"""Records the kernel calls that a function makes, and replays them without ``vmap`` and autograd.

Under ``vmap`` and autograd, most of a small step's time goes into dispatch and allocation. A ``Capture`` runs
the function once and records every call of a torch kernel below both. It then places the results in memory
that is reused as soon as a result is no longer read. Each replay makes the recorded calls alone: the same
kernels on the same values, so the results are equal to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from adamtune.engines.population.draws import Draws
from adamtune.engines.population.linear_algebra import call_without_nan, mark, refuses_nan
from adamtune.engines.population.memory_plan import MemoryPlan, RecordedCall, storages_of, tensors_in
from adamtune.engines.population.replay import KernelCall, compile_calls, compute_and_copy
from adamtune.engines.torch_private import (
    COMPUTED_VIEWS,
    ERROR_CHECK,
    DispatchMode,
    OpOverload,
    arguments,
    overloads,
    tree_map_only,
)

OPTIONS = {"dtype", "layout", "device", "pin_memory"}
"""Arguments of kernels that make a tensor; the overloads that write into a given one lack them."""
SHAPE_READERS = {"ones_like", "zeros_like", "full_like", "new_ones", "new_zeros", "new_full"}
"""Kernels that read the shape of their argument, not its values."""


class CannotCapture(Exception):
    """The function does something that a replay would not repeat; the message says what."""


class _Recorder(DispatchMode):
    """Records every kernel call made while it is entered.

    Raises:
        CannotCapture: a call whose result a replay would not repeat.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[RecordedCall] = []

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is ERROR_CHECK:
            return self._mark_failures(args[0])
        if refuses_nan(func):
            return call_without_nan(self._call, func, *args, **(kwargs or {}))
        if _depends_on_values(func, args):
            raise CannotCapture(f"the control flow depends on the data ({func})")
        # Such a view is a mark on a tensor, without a call that computes it: planned memory has no such
        # marks.
        if func in COMPUTED_VIEWS:
            # A tensor made of a number arrives as that number.
            func, args = COMPUTED_VIEWS[func], (torch.as_tensor(args[0]),)
        return self._call(func, *args, **(kwargs or {}))

    def _call(self, func: OpOverload, *args: Any, **kwargs: Any) -> Any:
        # A call that changes the shape of a tensor in place is a view, too. Calls before and after it have
        # the same tensor with different shapes, so each is recorded with views of its own.
        own_args, own_kwargs = _views((args, kwargs))
        result = func(*args, **kwargs)
        if torch.Tag.inplace_view not in func.tags:
            self.calls.append(RecordedCall(func, own_args, own_kwargs, _views(result)))
        return result

    def _mark_failures(self, codes: Tensor) -> None:
        """Makes the results of a factorization NaN where its error code is not 0."""
        factorization = next(
            each for each in reversed(self.calls) if storages_of(codes) & storages_of(each.result)
        )
        mark(self._call, self._call(torch.ops.aten.ne.Scalar, codes, 0), factorization.results)


def _views(tree: Any) -> Any:
    """The tree with a view of each tensor, whose shape nobody changes."""
    return tree_map_only(Tensor, Tensor.detach, tree)


class Capture:
    """A recorded function.

    Args:
        function: takes the inputs and returns a tree of tensors. What it computes from anything but
            the inputs is computed once.
        inputs: trees of tensors, which the caller fills with new values before each replay.
        draws: makes the function's random draws; None if it may not draw any.

    Attributes:
        outputs: what the function returned, in memory that each replay overwrites.
        changed: the tensors of the inputs that each replay changes in place.
        program: the kernel calls that compute them.
        memory: the working set in bytes: all memory that the calls write to.

    Raises:
        CannotCapture: the function's control flow depends on values, it changes a tensor that outlives the
            call, or draws random numbers in a way that a replay would not repeat.
    """

    def __init__(self, function: Callable[..., Any], *inputs: Any, draws: Draws | None = None) -> None:
        with _Recorder() as recorder:
            outputs = function(*inputs)
        calls = _without_unread(_depending_on(inputs, recorder.calls), outputs)
        written = storages_of([call.written for call in calls])
        self.changed = [each for each in tensors_in(inputs) if storages_of(each) <= written]
        plan = MemoryPlan(calls, outputs)
        self.memory = plan.size
        self.outputs = tree_map_only(Tensor, plan.place, outputs)
        self.program = [_replayed_call(call, plan.place, draws) for call in calls]

    @cached_property
    def replay(self) -> Callable[[], None]:
        """Computes the outputs from the current values of the inputs. Call it under ``torch.no_grad()``."""
        return compile_calls(self.program)


def is_random(kernel: OpOverload) -> bool:
    """Whether the kernel draws random numbers."""
    return torch.Tag.nondeterministic_seeded in kernel.tags


def _depends_on_values(kernel: OpOverload, args: tuple[Any, ...]) -> bool:
    """Whether the kernel returns a Python number, or a tensor whose shape depends on values."""
    if kernel.overloadpacket in (torch.ops.aten.index, torch.ops.aten.index_put_, torch.ops.aten.index_put):
        # torch tags the first always and the others never. It is so for masks, and not for whole numbers.
        return any(each.dtype in (torch.bool, torch.uint8) for each in tensors_in(args[1]))
    return torch.Tag.data_dependent_output in kernel.tags or torch.Tag.dynamic_output_shape in kernel.tags


def _depending_on(inputs: Any, calls: Sequence[RecordedCall]) -> list[RecordedCall]:
    """The calls to repeat: those that compute from the inputs, or write to what a repeated call changes.

    Raises:
        CannotCapture: a call writes to a tensor that is neither an input nor computed by a call.
    """
    varying = storages_of(inputs)
    owned = set(varying)
    # What is written to in place starts anew in each replay, so the calls that make it are repeated, too.
    for call in calls:
        varying |= storages_of((call.written, call.result if is_random(call.kernel) else ()))
    kept = []
    for call in calls:
        if not storages_of(call.written) <= owned:
            raise CannotCapture(
                f"a tensor that is no buffer of the model changes in every step ({call.kernel})"
            )
        # A view needs no call: its counterpart is a view of planned memory.
        if call.is_view:
            continue
        owned |= storages_of(call.result)
        read = () if call.name in SHAPE_READERS else (call.args, call.kwargs)
        if storages_of((read, call.written, call.result)) & varying:
            varying |= storages_of(call.result)
            kept.append(call)
    return kept


def _without_unread(calls: Sequence[RecordedCall], outputs: Any) -> list[RecordedCall]:
    """The calls but for those whose results neither a later call nor the caller reads."""
    read = storages_of(outputs)
    kept = []
    for call in reversed(calls):
        # A draw that nobody reads moves the generator on for the next one.
        if call.mutates or is_random(call.kernel) or storages_of(call.result) & read:
            read |= storages_of((call.args, call.kwargs))
            kept.append(call)
    return kept[::-1]


def _replayed_call(call: RecordedCall, place: Callable[[Tensor], Tensor], draws: Draws | None) -> KernelCall:
    """The call on tensors in planned memory, which it writes into directly where the kernel can."""
    args, kwargs = tree_map_only(Tensor, place, (call.args, call.kwargs))
    if call.name == "native_dropout" and args[2] and draws is not None:
        return KernelCall(draws.bind_dropout(args[0], args[1], *map(place, call.results)), (), {})
    if is_random(call.kernel):
        target = args[0] if call.mutates else place(call.result)
        draw = None if draws is None else draws.bind(call.kernel, args, kwargs, target)
        if draw is None:
            raise CannotCapture(
                f"random numbers are drawn that cannot be drawn for each member ({call.kernel}): draw with"
                " torch's usual functions, without a generator"
            )
        return KernelCall(draw, (), {})
    if call.mutates:
        return KernelCall(call.kernel, args, kwargs)
    results = [place(each) for each in call.results]
    if call.name in {"_to_copy", "clone"}:
        # Their variants that write copy twice: into a new tensor and from there.
        return KernelCall(torch.ops.aten.copy_.default, (results[0], args[0]), {})
    variant = _out_variant(call.kernel, len(results))
    if variant is None:
        return KernelCall(compute_and_copy, (call.kernel, results, args, kwargs), {})
    kernel, names = variant
    accepted = {each.name for each in arguments(kernel)}
    # Options such as the dtype follow from the tensors that it writes into.
    kept = {name: value for name, value in kwargs.items() if name in accepted}
    return KernelCall(kernel, args, kept | dict(zip(names, results, strict=True)))


def _out_variant(kernel: OpOverload, results: int) -> tuple[OpOverload, list[str]] | None:
    """The overload that takes the same arguments and writes into given tensors, and these tensors' names."""
    wanted = [(each.name, str(each.type)) for each in arguments(kernel) if each.name not in OPTIONS]
    options = {each.name for each in arguments(kernel)}
    for overload in overloads(kernel):
        formal = arguments(overload)
        outs = [each.name for each in formal if each.is_out]
        rest = [
            (each.name, str(each.type)) for each in formal if not each.is_out and each.name not in OPTIONS
        ]
        if len(outs) == results and rest == wanted and options >= OPTIONS & {each.name for each in formal}:
            return overload, outs
    return None
