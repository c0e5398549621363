"""The kernels of recurrent layers as operators; ``kernels.py`` says what they have in common."""

from __future__ import annotations

from torch import Tensor

from adamtune.engines.native.operators import Kernel, Shape

CELLS = {"lstm": 0, "gru": 1, "rnn_tanh": 2, "rnn_relu": 3}
"""The cells of recurrent layers, by their numbers in ``recurrent.h``."""
LSTM, GRU = CELLS["lstm"], CELLS["gru"]


def _sequence_sizes(inputs: Tensor, weight: Tensor, cell: int, reverse: bool) -> list[int]:
    """Members, times, rows of a batch, the width of h, the cell, and whether it begins at the last time."""
    return [*inputs.shape[:3], weight.shape[2], cell, reverse]


def _states(inputs: Tensor, weight: Tensor, width: int, wanted: bool = True) -> Shape:
    """The shape of ``width`` times h at every time."""
    return (*inputs.shape[:3], width * weight.shape[2]) if wanted else (0,)


recurrent = Kernel(
    "recurrent",
    "Tensor inputs, Tensor weight, Tensor? bias, Tensor h0, Tensor? c0, int cell, bool reverse",
    ["h", "c", "kept", "scratch"],
    lambda inputs, weight, bias, h0, c0, cell, reverse: [
        _states(inputs, weight, 1),
        _states(inputs, weight, 1, cell == LSTM),
        _states(inputs, weight, 4, cell in (LSTM, GRU)),
        (weight[0].numel() + inputs[0, 0].numel(),),
    ],
    lambda inputs, weight, bias, h0, c0, cell, reverse: _sequence_sizes(inputs, weight, cell, reverse),
)
recurrent_backward = Kernel(
    "recurrent_backward",
    "Tensor by_h, Tensor? by_c, Tensor weight, Tensor h0, Tensor? c0, Tensor h, Tensor c, Tensor kept, "
    "int cell, bool reverse",
    ["by_inputs", "by_weight", "by_bias", "by_h0", "by_c0", "scratch"],
    lambda by_h, by_c, weight, h0, c0, h, c, kept, cell, reverse: [
        (*h.shape[:3], weight.shape[1]),
        weight.shape,
        weight.shape[:2],
        h0.shape,
        h0.shape if cell == LSTM else (0,),
        (h.shape[1], h.shape[2], weight.shape[1]) if cell == GRU else (0,),
    ],
    lambda by_h, by_c, weight, h0, c0, h, c, kept, cell, reverse: _sequence_sizes(h, weight, cell, reverse),
)
