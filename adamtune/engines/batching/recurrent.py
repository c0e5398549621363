"""Recurrent layers, for which ``vmap`` has no rule: LSTM, GRU and simple networks, and their cells.

The products with the inputs of all times are one product; what is left for each time is the product with the
state and a few elementwise operations: one kernel for all times, or torch operations. The equations are those
of ``torch.nn.LSTM``, ``GRU`` and ``RNN``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from adamtune.engines.batching.dropout import dropout
from adamtune.engines.batching.linear import linear
from adamtune.engines.batching.members import for_members
from adamtune.engines.native import recurrent_kernels
from adamtune.engines.native.loader import handles

State = tuple[Tensor, ...]
"""The state of a layer, each ``[batch, hidden]``: h, and c of an LSTM."""


class Cell(NamedTuple):
    """A recurrent cell.

    Attributes:
        number: its number in ``recurrent_kernels.CELLS``.
        step: takes the products with the input and h, ``[batch, gates * hidden]`` each, and the state;
            returns the next state.
        rules: whether products and steps are computed by rules that have kernels; these have no second
            derivatives.
    """

    number: int
    step: Callable[[Tensor, Tensor, State], State]
    rules: bool

    def product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """``F.linear`` or its rule."""
        return (linear if self.rules else F.linear)(x, weight, bias)


def _lstm_cell(inputs: Tensor, recurrent: Tensor, state: State) -> State:
    i, f, g, o = (inputs + recurrent).chunk(4, -1)
    c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _gru_cell(inputs: Tensor, recurrent: Tensor, state: State) -> State:
    (r, z, n), (of_r, of_z, of_n) = inputs.chunk(3, -1), recurrent.chunk(3, -1)
    n = torch.tanh(n + torch.sigmoid(r + of_r) * of_n)
    return (n + torch.sigmoid(z + of_z) * (state[0] - n),)


def _tanh_cell(inputs: Tensor, recurrent: Tensor, state: State) -> State:
    return (torch.tanh(inputs + recurrent),)


def _relu_cell(inputs: Tensor, recurrent: Tensor, state: State) -> State:
    return (torch.relu(inputs + recurrent),)


def _layer(
    cell: Cell, x: Tensor, state: State, weights: Sequence[Tensor], reverse: bool = False
) -> tuple[Tensor, State]:
    """One layer in one direction.

    Args:
        cell: its cell.
        x: ``[time, batch, features]``.
        state: its first state.
        weights: of the inputs, of h, and the biases of both, if there are any.
        reverse: whether it begins at the last time.

    Returns:
        h at every time ``[time, batch, hidden]``, and the last state.
    """
    of_inputs, of_h, *biases = weights
    inputs = cell.product(x, of_inputs, biases[0] if biases else None)
    if cell.rules and inputs.numel() and handles(inputs, of_h, *biases[1:], *state):
        found = _by_kernel(cell.number, inputs, of_h, biases[1:], state, reverse)
        return found[0], tuple(each[0 if reverse else -1] for each in found)
    parts = inputs.unbind(0)
    outputs = []
    for part in reversed(parts) if reverse else parts:
        state = cell.step(part, cell.product(state[0], of_h, biases[1] if biases else None), state)
        outputs.append(state[0])
    return torch.stack(outputs[::-1] if reverse else outputs), state


def _by_kernel(
    cell: int, inputs: Tensor, weight: Tensor, bias: Sequence[Tensor], state: State, reverse: bool
) -> State:
    """The states at every time, ``[time, batch, hidden]`` each."""

    def of_members(inputs: Tensor, weight: Tensor, *others: Tensor) -> State:
        own = iter(others)
        bias_ = next(own) if bias else None
        h, c = next(own), next(own, None)
        found: State = _RecurrentKernel.apply(inputs, weight, bias_, h, c, cell, reverse)
        return found[: len(state)]

    return for_members(of_members, inputs, weight, *bias, *state)  # type: ignore[return-value]


class _RecurrentKernel(torch.autograd.Function):
    """A layer's states at every time, by the kernel.

    ``inputs [members, time, batch, gates * hidden]``, ``weight [members, gates * hidden, hidden]``, ``bias
    [members, gates * hidden]``, first states ``h`` and ``c [members, batch, hidden]`` -> ``h`` and ``c
    [members, time, batch, hidden]``; only an LSTM has ``c``.
    """

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        h0: Tensor,
        c0: Tensor | None,
        cell: int,
        reverse: bool,
    ) -> State:
        inputs, weight, h0 = inputs.contiguous(), weight.contiguous(), h0.contiguous()
        bias, c0 = (each if each is None else each.contiguous() for each in (bias, c0))
        h, c, kept, _ = recurrent_kernels.recurrent.call(inputs, weight, bias, h0, c0, cell, reverse)
        ctx.save_for_backward(weight, h0, c0, h, c, kept)
        ctx.settings = cell, reverse
        ctx.set_materialize_grads(False)
        return h, c

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_h: Tensor | None, by_c: Tensor | None) -> tuple[Tensor | None, ...]:
        h, needs = ctx.saved_tensors[3], ctx.needs_input_grad
        by_h = torch.zeros_like(h) if by_h is None else by_h.contiguous()
        by_c = by_c if by_c is None else by_c.contiguous()
        *found, _ = recurrent_kernels.recurrent_backward.call(by_h, by_c, *ctx.saved_tensors, *ctx.settings)
        return *(each if need else None for each, need in zip(found, needs, strict=False)), None, None


def _network(
    cell: Cell, x: Tensor, states: State, weights: Sequence[Tensor], *options: Any
) -> tuple[Tensor, ...]:
    """Layers as ``torch.lstm`` and the like compute them, with their arguments."""
    biased, layers, p, training, bidirectional, batch_first = options
    x = x.transpose(0, 1) if batch_first else x
    each, directions = 4 if biased else 2, 2 if bidirectional else 1
    last = []
    for layer in range(layers):
        outputs = []
        for direction in range(directions):
            index = layer * directions + direction
            own = tuple(state[index] for state in states)
            output, state = _layer(cell, x, own, weights[index * each : (index + 1) * each], direction == 1)
            outputs.append(output)
            last.append(state)
        x = torch.cat(outputs, -1) if directions == 2 else outputs[0]
        if layer < layers - 1 and p:
            x = dropout(x, p, training)
    ends = (torch.stack(parts) for parts in zip(*last, strict=True))
    return (x.transpose(0, 1) if batch_first else x, *ends)


def recurrent_rules(rules: bool) -> dict[Callable[..., Any], Callable[..., Any]]:
    """The rule of each recurrent function of torch; ``rules`` as in ``Cell``."""

    def network(name: str, cell: Cell) -> Callable[..., Any]:
        function = getattr(torch, name)

        def rule(x: Tensor, states: Any, weights: Any, *options: Any) -> Any:
            # Sequences of different lengths, whose second argument are their lengths, and projections.
            if not isinstance(weights, list | tuple) or len(options) != 6 or _projected(weights, options):
                return function(x, states, weights, *options)
            own = states if isinstance(states, list | tuple) else (states,)
            return _network(cell, x, tuple(own), weights, *options)

        return rule

    def single(cell: Cell) -> Callable[..., Any]:
        def rule(
            x: Tensor, state: Any, of_x: Tensor, of_h: Tensor, x_bias: Any = None, h_bias: Any = None
        ) -> Any:
            own = tuple(state) if isinstance(state, list | tuple) else (state,)
            biases = [] if x_bias is None else [x_bias, h_bias]
            _, found = _layer(cell, x.unsqueeze(0), own, [of_x, of_h, *biases])
            return found if len(found) > 1 else found[0]

        return rule

    steps = {"lstm": _lstm_cell, "gru": _gru_cell, "rnn_tanh": _tanh_cell, "rnn_relu": _relu_cell}
    numbers = recurrent_kernels.CELLS
    cells = {name: Cell(numbers[name], step, rules) for name, step in steps.items()}
    return {
        **{getattr(torch, name): network(name, cell) for name, cell in cells.items()},
        **{getattr(torch, f"{name}_cell"): single(cell) for name, cell in cells.items()},
    }


def _projected(weights: Sequence[Tensor], options: Sequence[Any]) -> bool:
    """Whether the layers have the projections of ``nn.LSTM(proj_size=...)``: a fifth weight, or a third."""
    biased, layers, _, _, bidirectional, _ = options
    expected: int = (4 if biased else 2) * layers * (2 if bidirectional else 1)
    return len(weights) != expected
