"""Compiles a list of kernel calls into a function that makes them with hardly any Python in between.

Consecutive calls of torch's kernels become one TorchScript function: its interpreter spends about a
microsecond on a call where Python spends four, and it does not hold Python's lock, so that threads with a
replay each do not wait for each other. Consecutive calls of this package's kernels become one call of C.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, NamedTuple, cast

from torch import Tensor

from adamtune.engines.native.operators import c_call, call_in_turn, is_own_kernel
from adamtune.engines.torch_private import Graph, OpOverload, arguments, writes_to_list


class KernelCall(NamedTuple):
    """A call of a kernel with its arguments; each call reads and writes the same tensors."""

    kernel: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class TranslationError(Exception):
    """TorchScript cannot make the call."""


def compile_calls(calls: Sequence[KernelCall]) -> Callable[[], None]:
    """A function that makes all the calls in turn.

    Args:
        calls: this package's kernels only in the variant that writes into given tensors.

    Returns:
        The function. Where TorchScript cannot make one of consecutive calls, Python makes them.
    """
    parts: list[Callable[[], None]] = []
    for is_own, consecutive in groupby(calls, key=lambda call: is_own_kernel(call.kernel)):
        if is_own:
            # Keyword arguments are the tensors that the kernel writes into.
            parts.append(
                call_in_turn(
                    [
                        c_call(cast(OpOverload, kernel), args, list(kwargs.values()))
                        for kernel, args, kwargs in consecutive
                    ]
                )
            )
        else:
            parts.append(_compile_torch_calls(list(consecutive)))
    if len(parts) == 1:
        return parts[0]

    def replay() -> None:
        for part in parts:
            part()

    return replay


def _compile_torch_calls(calls: Sequence[KernelCall]) -> Callable[[], None]:
    try:
        return _Translation(calls).function()
    except TranslationError:
        return lambda: _call_from_python(calls)


def _call_from_python(calls: Sequence[KernelCall]) -> None:
    for kernel, args, kwargs in calls:
        kernel(*args, **kwargs)


class _Translation:
    """Calls as a TorchScript function whose inputs are the tensors that they read or write.

    Raises:
        TranslationError: TorchScript cannot make one of them.
    """

    def __init__(self, calls: Sequence[KernelCall]) -> None:
        self._graph = Graph()
        self._inputs: dict[int, Any] = {}  # by the id of the tensor, which _tensors keeps alive
        self._tensors: list[Tensor] = []
        for call in calls:
            self._add(call)

    def function(self) -> Callable[[], None]:
        """The calls as a function without arguments."""
        run, tensors = self._graph.function(), self._tensors
        return lambda: run(*tensors)

    def _add(self, call: KernelCall) -> None:
        kernel = call.kernel
        # TorchScript would delete calls that write to a list of tensors: it takes them to have no effect.
        if not isinstance(kernel, OpOverload) or writes_to_list(kernel):
            raise TranslationError(kernel)
        formal = arguments(kernel)
        given = dict(zip((each.name for each in formal), call.args, strict=False)) | call.kwargs
        values = [
            self._value(given.get(each.name, each.default_value if each.has_default_value() else None))
            for each in formal
        ]
        if not self._graph.add_call(kernel, values):
            raise TranslationError(kernel)

    def _value(self, value: Any) -> Any:
        """An argument's value in the graph."""
        if isinstance(value, Tensor):
            return self._input(value)
        if isinstance(value, list | tuple) and any(isinstance(each, Tensor) for each in value):
            return self._graph.add_list([self._value(each) for each in value])
        try:
            return self._graph.add_constant(list(value) if isinstance(value, tuple) else value)
        except (TypeError, RuntimeError) as error:
            raise TranslationError(value) from error

    def _input(self, tensor: Tensor) -> Any:
        if id(tensor) not in self._inputs:
            self._inputs[id(tensor)] = self._graph.add_input()
            self._tensors.append(tensor)
        return self._inputs[id(tensor)]
