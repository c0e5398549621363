"""Kernels of several layers equal their definitions in float64, whatever the sizes."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor
from torch.func import vmap

from adamtune.engines.batching import recurrent
from adamtune.engines.batching.mode import BatchingRules
from adamtune.engines.native import image_kernels, norm_kernels
from adamtune.engines.native.loader import PRECISIONS, kernel_library
from adamtune.engines.native.recurrent_kernels import CELLS
from tests.engines.rules import MEMBERS, assert_members_equal_torch, drawn, values_and_gradients

pytestmark = pytest.mark.skipif(
    any(kernel_library(each) is None for each in PRECISIONS), reason="no kernels in C here"
)


WINDOW = st.tuples(st.integers(1, 4), st.integers(1, 4))


@example((1, 3), (1, 2), (1, 1), (2, 3), (2, 2), 2, 96, 0)  # as many numbers in the windows as in the image
@example((1, 3), (1, 3), (1, 2), (2, 0), (2, 2), 2, 96, 0)
@example((3, 3), (1, 1), (2, 2), (4, 4), (4, 2), 33, 8, None)  # two rows a block, of images that are shared
@given(
    WINDOW,
    WINDOW,
    WINDOW,
    st.tuples(st.integers(0, 4), st.integers(0, 4)),
    WINDOW,
    st.sampled_from([1, 2, 3, 40]),
    st.integers(1, 20),
    st.sampled_from([0, None]),
)
def test_convolution(
    window: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    more: tuple[int, int],
    images: tuple[int, int],
    out: int,
    lines: int,
    of_members: int | None,
) -> None:
    """Windows may overlap, leave pixels out, or cover the image once; blocks may be parts of an image."""
    count, channels = images
    margins = [min(margin, size) - 1 for margin, size in zip(padding, window, strict=True)]
    shape = [size + extra for size, extra in zip(window, more, strict=True)]
    members = () if of_members is None else (MEMBERS,)
    inputs = [drawn(0, *members, count, channels, *shape), drawn(1, MEMBERS, out, channels, *window)]
    with patch.multiple(image_kernels, LINES=lines, BLOCK=1):
        assert_members_equal_torch(
            lambda x, w: F.conv2d(x, w, stride=stride, padding=margins), inputs, [of_members, 0]
        )


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 40)),
    st.integers(1, 6),
    st.integers(1, 50),
    st.booleans(),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_normalise(
    sizes: tuple[int, int, int], joined: int, groups: int, whole_batch: bool, dtype: torch.dtype
) -> None:
    """It equals the definition in float64, whatever the sizes and the mean."""
    (members, batch, pixels), channels = sizes, joined * groups
    if pixels * (batch if whole_batch else joined) < 2:
        return
    joined = 1 if whole_batch else joined
    given = [drawn(0, members, batch, pixels, channels) + 3, *(drawn(s, members, channels) for s in (1, 2))]
    gradient = drawn(3, members, batch, channels, pixels)

    def definition(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        split = x.unflatten(-1, (-1, joined))
        over = (1, 2, 4) if whole_batch else (2, 4)
        variance, mean = torch.var_mean(split, over, correction=0, keepdim=True)
        normal = ((split - mean) / (variance + 1e-5).sqrt()).flatten(-2)
        return (normal * weight[:, None, None] + bias[:, None, None]).movedim(-1, 2)

    leaves = [each.requires_grad_() for each in given]
    expected = definition(*leaves)
    wanted = torch.autograd.grad(expected, leaves, gradient)
    x, weight, bias = (each.detach().to(dtype) for each in given)
    y, means, scales, _, _ = norm_kernels.normalise.call(x, weight, bias, joined, whole_batch, 1e-5)
    by_y = gradient.movedim(2, -1).contiguous().to(dtype)
    found = norm_kernels.normalise_backward.call(by_y, x, weight, means, scales, joined, whole_batch)
    for ours, theirs in zip((y, *found[:3]), (expected, *wanted), strict=True):
        tolerance = (1e-3 if dtype == torch.float32 else 1e-9) * max(1.0, float(theirs.detach().abs().max()))
        torch.testing.assert_close(ours.double(), theirs.detach(), rtol=0, atol=tolerance)


def test_a_large_mean_does_not_cost_precision() -> None:
    """The variance is that of differences from the mean, not a difference of two large numbers."""
    x = drawn(0, MEMBERS, 4000, 3)
    with BatchingRules():
        found = vmap(lambda x: F.batch_norm(x, None, None, training=True))((x + 1000).float())
    expected = torch.stack(
        [F.batch_norm((each + 1000).float().double(), None, None, training=True) for each in x]
    )
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-3)


def steps_in_torch(
    kind: str, inputs: Tensor, weight: Tensor, bias: Tensor, *state: Tensor, reverse: bool
) -> Tensor:
    """What the kernel computes, by the rule's torch operations."""
    step = {"lstm": recurrent._lstm_cell, "gru": recurrent._gru_cell}.get(kind)
    step = step or (recurrent._tanh_cell if kind == "rnn_tanh" else recurrent._relu_cell)
    found = []
    for part in reversed(inputs.unbind(0)) if reverse else inputs.unbind(0):
        state = step(part, state[0] @ weight.mT + bias, state)
        found.append(torch.stack(state))
    return torch.stack(found[::-1] if reverse else found)


@given(
    st.sampled_from([*CELLS]),
    st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 7), st.integers(1, 40)),
    st.booleans(),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_recurrent(kind: str, sizes: tuple[int, int, int, int], reverse: bool, dtype: torch.dtype) -> None:
    """It equals the equations in float64, whatever the sizes, with gradients of both states at all times."""
    (members, times, batch, hidden), wide = sizes, {"lstm": 4, "gru": 3}.get(kind, 1)
    shapes = (times, batch, wide * hidden), (wide * hidden, hidden), (wide * hidden,)
    states = [(batch, hidden)] * (2 if kind == "lstm" else 1)
    inputs = [drawn(place, members, *shape) for place, shape in enumerate((*shapes, *states))]
    inputs[1] /= hidden**0.5

    def kernel(inputs: Tensor, weight: Tensor, bias: Tensor, *state: Tensor) -> Tensor:
        found = recurrent._by_kernel(CELLS[kind], inputs, weight, [bias], state, reverse)
        return torch.stack(found, 1)

    found = values_and_gradients(vmap(kernel), [each.to(dtype) for each in inputs])
    expected = values_and_gradients(vmap(lambda *own: steps_in_torch(kind, *own, reverse=reverse)), inputs)
    for ours, theirs in zip(found, expected, strict=True):
        tolerance = (1e-4 if dtype == torch.float32 else 1e-11) * max(1.0, float(theirs.abs().max()))
        torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("dtype", "roundings"), [(torch.float32, 4), (torch.float64, 8)])
def test_the_kernels_tangent_is_precise_for_all_numbers(dtype: torch.dtype, roundings: int) -> None:
    """Small ones, too, which are not a difference of numbers near 1."""
    positive = torch.logspace(-30, 2.5, 4000, dtype=torch.float64)
    x = torch.cat([-positive, torch.zeros(1), positive, torch.tensor([torch.inf, -torch.inf])]).to(dtype)
    nothing = torch.zeros(len(x), len(x), dtype=dtype)[:1, :1]
    zeros = torch.zeros(len(x), 1, dtype=dtype)
    with BatchingRules():
        found = vmap(lambda x: torch.rnn_tanh_cell(x, zeros, nothing + 1, nothing))(x[None, :, None])
    expected = x.double().tanh()
    error = (found.flatten().double() - expected).abs()
    assert (error <= roundings * torch.finfo(dtype).eps * expected.abs()).all()


@pytest.mark.parametrize(("sign", "expected"), [(1, 2), (-1, 0)])
def test_saturated_gates_have_finite_gradients(sign: int, expected: int) -> None:
    x = torch.full((MEMBERS, 2, 20), sign * 1e4).float().requires_grad_()
    state, weights = torch.ones(2, 5).float(), (torch.eye(20).float(), torch.zeros(20, 5).float())
    with BatchingRules():
        _, c = vmap(lambda x: torch.lstm_cell(x, (state, state), *weights))(x)
    (by_x,) = torch.autograd.grad(c.sum(), x)
    assert (c == expected).all()
    assert (by_x == 0).all()
