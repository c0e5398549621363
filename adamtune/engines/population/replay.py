"""Runs a list of kernel calls with next to nothing of Python in between.

Calls of torch's kernels that follow each other become one TorchScript function. Its interpreter spends
about a microsecond on a call instead of four, and threads that each run one do not wait for each other.
Kernels of our own that follow each other become one call of C.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch._ops import OpOverload

from adamtune.engines.native.operators import bind, chain, is_kernel


class Bound(NamedTuple):
    """A kernel call on tensors that stay where they are."""

    kernel: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Untranslatable(Exception):
    """A call that TorchScript does not have."""


def compiled(program: Sequence[Bound]) -> Callable[[], None]:
    """A function that makes all calls in turn; by Python where they cannot be translated."""
    parts: list[Callable[[], None]] = []
    for own, calls in groupby(program, key=lambda call: is_kernel(call.kernel)):
        if own:
            kernels = [
                bind(cast(OpOverload, call.kernel), call.args, list(call.kwargs.values())) for call in calls
            ]
            parts.append(chain(kernels))
        else:
            parts.append(_translated(list(calls)))
    if len(parts) == 1:
        return parts[0]

    def run() -> None:
        for part in parts:
            part()

    return run


def _translated(program: Sequence[Bound]) -> Callable[[], None]:
    try:
        return _Script(program).function()
    except Untranslatable:
        return lambda: _interpret(program)


def _interpret(program: Sequence[Bound]) -> None:
    for kernel, args, kwargs in program:
        kernel(*args, **kwargs)


class _Script:
    """The graph of a function whose inputs are the program's tensors."""

    def __init__(self, program: Sequence[Bound]) -> None:
        self._graph = cast(Any, torch._C.Graph())  # torch's stubs know little of it
        self._inputs: dict[int, Any] = {}
        self._tensors: list[Tensor] = []
        for call in program:
            self._add(call)
        self._graph.registerOutput(self._graph.insertConstant(None))

    def function(self) -> Callable[[], None]:
        run, tensors = torch._C._create_function_from_graph("replay", self._graph), self._tensors
        return lambda: run(*tensors)

    def _add(self, call: Bound) -> None:
        if not isinstance(call.kernel, OpOverload):
            raise Untranslatable(call.kernel)
        schema = call.kernel._schema
        if any(each.is_write and isinstance(each.type, torch._C.ListType) for each in schema.arguments):
            raise Untranslatable(schema)  # its optimizer does not see that such a call does anything
        given = dict(zip((each.name for each in schema.arguments), call.args, strict=False)) | call.kwargs
        values = [
            self._value(given.get(each.name, each.default_value if each.has_default_value() else None))
            for each in schema.arguments
        ]
        node = self._graph.create(schema.name, values, len(schema.returns))
        self._graph.insertNode(node)
        # TorchScript picks the overload by its arguments: make sure that it is the recorded one.
        if node.schema() != str(schema):
            raise Untranslatable(schema)

    def _value(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._input(value)
        if isinstance(value, list | tuple) and any(isinstance(each, Tensor) for each in value):
            node = self._graph.create("prim::ListConstruct", [self._value(each) for each in value], 1)
            self._graph.insertNode(node)
            node.output().setType(torch._C.ListType.ofTensors())
            return node.output()
        try:
            return self._graph.insertConstant(list(value) if isinstance(value, tuple) else value)
        except (TypeError, RuntimeError) as error:
            raise Untranslatable(value) from error

    def _input(self, tensor: Tensor) -> Any:
        if id(tensor) not in self._inputs:
            node = self._graph.addInput()
            node.setType(torch._C.TensorType.get())
            self._inputs[id(tensor)] = node
            self._tensors.append(tensor)
        return self._inputs[id(tensor)]
