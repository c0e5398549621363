"""The kernels' matrix product equals torch's, whatever the sizes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adamtune.engines.native import kernels
from adamtune.engines.native.loader import kernel_library

SIZES = st.one_of(st.integers(1, 40), st.sampled_from([64, 96, 127, 128, 129, 150, 300]))
"""Sizes around the widths of vectors, panels and tiles, and beyond the depth that is summed at a time."""
DTYPES = {torch.float32: 1e-4, torch.float64: 1e-11}

pytestmark = pytest.mark.skipif(
    any(kernel_library(each) is None for each in DTYPES), reason="no kernels in C here"
)


def numbers(seed: int, around: int, dtype: torch.dtype, *shape: int) -> torch.Tensor:
    """Random numbers with ``around`` NaN before and after them in memory, which no result may depend on."""
    size = torch.Size(shape).numel()
    memory = torch.full((size + 2 * around,), torch.nan, dtype=dtype)
    own = memory[around : around + size]
    own[:] = torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return own.view(shape)


@given(st.integers(1, 2), SIZES, SIZES, SIZES, st.sampled_from([*DTYPES]), st.sampled_from([0, 64]))
def test_linear(members: int, rows: int, inner: int, out: int, dtype: torch.dtype, around: int) -> None:
    x, weight, bias, gradient = (
        numbers(seed, around, dtype, members, *shape)
        for seed, shape in enumerate([(rows, inner), (out, inner), (out,), (rows, out)])
    )
    y, _ = kernels.linear.call(x, weight, bias, kernels.ACTIVATIONS["none"])
    by_x, by_weight, by_bias, _ = kernels.linear_backward.call(gradient, x, weight, None, 0, True)
    close = {"rtol": DTYPES[dtype], "atol": DTYPES[dtype] * max(rows, inner, out) ** 0.5}
    torch.testing.assert_close(y, x @ weight.mT + bias.unsqueeze(1), **close)
    torch.testing.assert_close(by_x, gradient @ weight, **close)
    torch.testing.assert_close(by_weight, gradient.mT @ x, **close)
    torch.testing.assert_close(by_bias, gradient.sum(1), **close)


def test_nan_in_a_row_does_not_change_other_rows() -> None:
    x, weight = torch.ones(1, 40, 24), torch.ones(1, 33, 24)
    x[0, 17, 5] = torch.nan
    y, _ = kernels.linear.call(x, weight, None, kernels.ACTIVATIONS["none"])
    assert y[0, 17].isnan().all()
    assert (y[0, torch.arange(40) != 17] == 24).all()


def test_a_product_over_no_numbers_is_zero() -> None:
    y, _ = kernels.linear.call(torch.ones(1, 3, 0), torch.ones(1, 5, 0), None, kernels.ACTIVATIONS["none"])
    assert (y == 0).all()
