"""The rules of batch and group normalisation equal torch's: values, gradients and running statistics."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.func import vmap

from adamtune.engines.batching import norm
from adamtune.engines.batching.mode import BatchingRules
from tests.engines.rules import MEMBERS, assert_equals_torch, counted_calls, drawn, values_and_gradients

pytestmark = pytest.mark.usefixtures("with_kernels")

SHAPES = [(7, 5), (2, 5), (3, 5, 4), (2, 5, 3, 4), (1, 5, 3, 3), (2, 5, 2, 2, 3), (3, 300), (70, 1, 2, 2)]
"""Of inputs ``[batch, channels, ...]``; loops over rows of 300 channels take one at a time."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Has an element for each call of the kernel."""
    return counted_calls(monkeypatch, norm._NormaliseKernel)


@pytest.mark.parametrize("affine", [0, 1, 2])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batch_norm(shape: tuple[int, ...], affine: int, calls: list[bool], with_kernels: bool) -> None:
    assert_equals_torch(
        lambda x, *own: F.batch_norm(x, None, None, *own, training=True, eps=1e-3),
        [shape] + [shape[1:2]] * affine,
        own=(0,),
    )
    assert bool(calls) == with_kernels


@pytest.mark.parametrize("affine", [0, 1, 2])
@pytest.mark.parametrize(
    ("shape", "groups"), [((3, 6), 2), ((2, 6, 4), 3), ((2, 6, 3, 4), 6), ((2, 6, 3, 4), 1)]
)
def test_group_norm(
    shape: tuple[int, ...], groups: int, affine: int, calls: list[bool], with_kernels: bool
) -> None:
    assert_equals_torch(
        lambda x, *own: F.group_norm(x, groups, *own, eps=1e-3), [shape] + [shape[1:2]] * affine, own=(0,)
    )
    assert bool(calls) == with_kernels


@pytest.mark.parametrize("momentum", [0.1, 0.0, 1.0])
@pytest.mark.parametrize("shape", [(7, 5), (2, 5, 3, 4)], ids=str)
def test_running_statistics(shape: tuple[int, ...], momentum: float) -> None:
    x, weight, bias = drawn(0, MEMBERS, *shape), drawn(1, MEMBERS, 5), drawn(2, MEMBERS, 5)
    mean, variance = drawn(3, MEMBERS, 5), drawn(4, MEMBERS, 5).square()
    expected = [mean.clone(), variance.clone()]
    for member in range(MEMBERS):
        own = expected[0][member], expected[1][member]
        F.batch_norm(x[member], *own, weight[member], bias[member], True, momentum)
    with BatchingRules():
        vmap(lambda *own: F.batch_norm(*own, True, momentum))(x, mean, variance, weight, bias)
    torch.testing.assert_close([mean, variance], expected)


MEAN, VARIANCE = drawn(3, 5).double(), drawn(4, 5).double().square() + 0.1


@pytest.mark.parametrize("affine", [0, 1, 2])
@pytest.mark.parametrize("shape", [(1, 5), (4, 5), (2, 5, 3, 4)], ids=str)
def test_batch_norm_in_evaluation(shape: tuple[int, ...], affine: int) -> None:
    """Gradients, too: a training may use running statistics."""
    assert_equals_torch(
        lambda x, *own: F.batch_norm(x, MEAN, VARIANCE, *own),
        [shape] + [(5,)] * affine,
        own=(0,),
    )


def test_inputs_that_are_not_contiguous() -> None:
    assert_equals_torch(lambda x: F.batch_norm(x.mT[:, ::2], None, None, training=True), [(6, 7, 9)])
    assert_equals_torch(lambda x: F.group_norm(x.transpose(1, 3)[..., 1:], 2), [(3, 5, 4, 6)])
    assert_equals_torch(
        lambda x, weight: F.batch_norm(F.conv2d(x, weight).relu(), None, None, training=True),
        [(2, 3, 6, 7), (4, 3, 3, 3)],
    )


@pytest.mark.parametrize(
    "call", [lambda x: F.batch_norm(x, None, None, training=True), lambda x: F.group_norm(x, 5)]
)
def test_a_single_number_by_channel_is_refused_as_by_torch(call: Any) -> None:
    with BatchingRules(), pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        vmap(call)(drawn(0, MEMBERS, 1, 5))


UNFITTING = {
    "weight": lambda x: F.batch_norm(x, None, None, x.new_ones(4), training=True),
    "running mean": lambda x: F.batch_norm(x, x.new_ones(4), x.new_ones(4), training=True),
    "groups": lambda x: F.group_norm(x, 3),
    "no groups": lambda x: F.group_norm(x, 0),
    "group norm's weight": lambda x: F.group_norm(x, 5, x.new_ones(4)),
    "dimensions": lambda x: F.batch_norm(x[0], None, None, training=True),
    "eps": lambda x: F.batch_norm(x, None, None, training=True, eps=0.0),
}


@pytest.mark.parametrize("name", UNFITTING)
def test_arguments_that_do_not_fit_together_are_refused(name: str) -> None:
    with BatchingRules(), pytest.raises((RuntimeError, ValueError, IndexError, ZeroDivisionError)):
        vmap(UNFITTING[name])(drawn(0, MEMBERS, 7, 5))


def test_a_nan_stays_with_its_member() -> None:
    x = drawn(0, MEMBERS, 6, 4, 3)
    x[1, 2, 1, 0] = torch.nan
    with BatchingRules():
        for call in (lambda x: F.batch_norm(x, None, None, training=True), lambda x: F.group_norm(x, 2)):
            y, by_x = values_and_gradients(vmap(call), [x])
            assert y[1].isnan().any()
            assert not y[[0, 2]].isnan().any()
            assert not by_x[[0, 2]].isnan().any()
