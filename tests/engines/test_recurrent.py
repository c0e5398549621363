"""The rules of recurrent layers and cells equal torch's modules: values, and gradients of all inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from adamtune.engines.batching import recurrent
from adamtune.engines.batching.mode import BatchingRules
from adamtune.engines.native.loader import KERNELS
from adamtune.engines.native.recurrent_kernels import CELLS
from tests.engines.rules import MEMBERS, assert_members_equal_torch, counted_calls, drawn

pytestmark = pytest.mark.usefixtures("with_kernels")

LAYERS: dict[str, Any] = {
    "LSTM": (nn.LSTM, {}),
    "GRU": (nn.GRU, {}),
    "RNN": (nn.RNN, {}),
    "RNN, relu": (nn.RNN, {"nonlinearity": "relu"}),
}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"bias": False},
    {"num_layers": 2, "bidirectional": True},
    {"bidirectional": True, "batch_first": True, "bias": False},
]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Has an element for each call of the kernel."""
    return counted_calls(monkeypatch, recurrent._RecurrentKernel)


def with_parameters(module: nn.Module, names: list[str]) -> Any:
    """The module as a function of its input and its parameters; the result has all results in one row."""

    def function(x: Tensor, *parameters: Tensor) -> Tensor:
        found = functional_call(module, dict(zip(names, parameters, strict=True)), (x,))
        parts = (
            [found] if isinstance(found, Tensor) else [found[0], *torch.utils._pytree.tree_leaves(found[1])]
        )
        return torch.cat([each.flatten() for each in parts])

    return function


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str, options: dict[str, Any], calls: list[bool], with_kernels: bool) -> None:
    """Results are h at all times and the last states."""
    kind, own = LAYERS[name]
    module = kind(3, 5, **own, **options)
    names, shapes = zip(*((key, tuple(each.shape)) for key, each in module.named_parameters()), strict=True)
    function = with_parameters(module, list(names))
    inputs = [drawn(0, MEMBERS, 4, 2, 3), *(0.5 * drawn(k, MEMBERS, *s) for k, s in enumerate(shapes, 1))]
    assert_members_equal_torch(function, inputs, [0] * len(inputs))
    assert bool(calls) == with_kernels


@pytest.mark.parametrize("bias", [0, 2])
@pytest.mark.parametrize(
    ("cell", "gates"),
    [(torch.lstm_cell, 4), (torch.gru_cell, 3), (torch.rnn_tanh_cell, 1), (torch.rnn_relu_cell, 1)],
)
def test_cells(cell: Any, gates: int, bias: int) -> None:
    """Also where all members share the inputs or the state."""

    def function(x: Tensor, h: Tensor, c: Tensor, *weights: Tensor) -> Tensor:
        found = cell(x, (h, c) if cell is torch.lstm_cell else h, *weights)
        return torch.cat(found) if isinstance(found, tuple) else found + 0 * c

    wide = gates * 5
    shapes = [(2, 3), (2, 5), (2, 5), (wide, 3), (wide, 5)] + [(wide,)] * bias
    for shared in (set(), {0}, {1, 2}):
        dims = [None if place in shared else 0 for place in range(len(shapes))]
        inputs = [
            drawn(place, *shape) if place in shared else drawn(place, MEMBERS, *shape)
            for place, shape in enumerate(shapes)
        ]
        assert_members_equal_torch(function, inputs, dims)


def test_a_nan_stays_with_its_member() -> None:
    x, of_x, of_h = drawn(0, MEMBERS, 4, 3), drawn(1, 20, 3), drawn(2, 20, 5)
    x[1, 2, 0] = torch.nan
    with BatchingRules():
        h, c = vmap(lambda x: torch.lstm_cell(x, (x.new_zeros(4, 5), x.new_zeros(4, 5)), of_x, of_h))(x)
    for each in (h, c):
        assert each[1, 2].isnan().all()
        assert not each[1, [0, 1, 3]].isnan().any()
        assert not each[[0, 2]].isnan().any()


def test_the_c_file_numbers_cells_as_python_does() -> None:
    words = f"enum {{ {', '.join(name.upper() for name in CELLS)} }};"
    assert words in KERNELS.with_name("recurrent.h").read_text()
    assert list(CELLS.values()) == list(range(len(CELLS)))
