"""Recurrent layers, for which ``vmap`` has no rule: LSTM, GRU and simple networks, and their cells.

The products with the inputs of all times are one product; what is left for each time is the product with the
state and a few elementwise operations. The equations are those of ``torch.nn.LSTM``, ``GRU`` and ``RNN``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from adamtune.engines.batching.linear import linear

State = tuple[Tensor, ...]
"""The state of a layer, each ``[batch, hidden]``: h, and c of an LSTM."""
Cell = Callable[[Tensor, Tensor, State], State]
"""Takes the products with the input and h, ``[batch, gates * hidden]`` each, and the state; the next one."""


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
    cell: Cell, x: Tensor, state: State, weights: Sequence[Tensor], reverse: bool
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
    parts = linear(x, of_inputs, biases[0] if biases else None).unbind(0)
    found = []
    for part in reversed(parts) if reverse else parts:
        state = cell(part, linear(state[0], of_h, biases[1] if biases else None), state)
        found.append(state[0])
    return torch.stack(found[::-1] if reverse else found), state


def _network(
    cell: Cell,
    dropout_of: Callable[..., Tensor],
    x: Tensor,
    states: State,
    weights: Sequence[Tensor],
    *options: Any,
) -> tuple[Tensor, ...]:
    """Layers as ``torch.lstm`` and the like compute them, with their arguments."""
    biased, layers, dropout, training, bidirectional, batch_first = options
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
        if layer < layers - 1 and dropout:
            x = dropout_of(x, dropout, training)
    ends = (torch.stack(parts) for parts in zip(*last, strict=True))
    return (x.transpose(0, 1) if batch_first else x, *ends)


def recurrent_rules(dropout_of: Callable[..., Tensor]) -> dict[Callable[..., Any], Callable[..., Any]]:
    """The rule of each recurrent function of torch; ``dropout_of`` is that of ``F.dropout``."""

    def network(name: str, cell: Cell) -> Callable[..., Any]:
        function = getattr(torch, name)

        def rule(x: Tensor, states: Any, weights: Any, *options: Any) -> Any:
            # Sequences of different lengths, whose second argument are their lengths, and projections.
            if not isinstance(weights, list | tuple) or len(options) != 6 or _projected(weights, options):
                return function(x, states, weights, *options)
            own = states if isinstance(states, list | tuple) else (states,)
            return _network(cell, dropout_of, x, tuple(own), weights, *options)

        return rule

    def single(cell: Cell) -> Callable[..., Any]:
        def rule(
            x: Tensor, state: Any, of_x: Tensor, of_h: Tensor, x_bias: Any = None, h_bias: Any = None
        ) -> Any:
            own = tuple(state) if isinstance(state, list | tuple) else (state,)
            found = cell(linear(x, of_x, x_bias), linear(own[0], of_h, h_bias), own)
            return found if len(found) > 1 else found[0]

        return rule

    cells = {"lstm": _lstm_cell, "gru": _gru_cell, "rnn_tanh": _tanh_cell, "rnn_relu": _relu_cell}
    return {
        **{getattr(torch, name): network(name, cell) for name, cell in cells.items()},
        **{getattr(torch, f"{name}_cell"): single(cell) for name, cell in cells.items()},
    }


def _projected(weights: Sequence[Tensor], options: Sequence[Any]) -> bool:
    """Whether the layers have the projections of ``nn.LSTM(proj_size=...)``: a fifth weight, or a third."""
    biased, layers, _, _, bidirectional, _ = options
    expected: int = (4 if biased else 2) * layers * (2 if bidirectional else 1)
    return len(weights) != expected
