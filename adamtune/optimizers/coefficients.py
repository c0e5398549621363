"""The scalars that turn an update rule into one elementwise pass."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Coefficients(NamedTuple):
    """What an update rule is, for one step of one member; every field is a tensor ``[..., members]``.

    With parameters x, their gradient g and the state (all zero before the first step)::

        g      = g + l2 * x
        square = square_decay * square + square_gain * g * g
        mean   = square_decay * mean + mean_gain * g
        peak   = max(peak_keep * peak, square)
        scale  = clip(1 / (root * sqrt(peak - mean * mean) + floor), low, high)
        g      = g * scale                                       where early is 1
        buffer = buffer_decay * buffer + buffer_gain * g
        x      = shrink * x - (1 where early else scale) * (from_buffer * buffer + from_gradient * g)

    A member with ``square_gain`` 0 has no second moment: its mean_gain, peak_keep, root, floor and
    clip are neutral. The values in ``NEUTRAL`` make a line do nothing, to the last bit: terms that
    no member needs can be skipped, and a member does not depend on its neighbours' rules. Where
    ``peak_keep`` is 0, ``peak`` is not kept: what its buffer then holds means nothing.
    """

    l2: Tensor
    square_decay: Tensor
    square_gain: Tensor
    mean_gain: Tensor
    peak_keep: Tensor
    root: Tensor
    floor: Tensor
    low: Tensor
    high: Tensor
    early: Tensor
    buffer_decay: Tensor
    buffer_gain: Tensor
    shrink: Tensor
    from_buffer: Tensor
    from_gradient: Tensor


NEUTRAL = {
    **dict.fromkeys(Coefficients._fields, 0.0),
    "floor": 1.0,
    "low": -torch.inf,
    "high": torch.inf,
    "shrink": 1.0,
}


class Terms(NamedTuple):
    """Which parts of the pass a population needs; the buffers of the others may be absent."""

    l2: bool
    square: bool
    mean: bool
    peak: bool
    clip: bool
    early: bool
    buffer: bool
    shrink: bool
    gradient: bool


def coefficients_like(step: Tensor, **fields: Tensor | float) -> Coefficients:
    """Coefficients of the shape of ``step`` (float64); fields not given are neutral."""
    return Coefficients(
        *(
            torch.as_tensor(fields.get(name, neutral), dtype=torch.float64, device=step.device).expand(
                step.shape
            )
            for name, neutral in NEUTRAL.items()
        )
    )


def terms(coefficients: Coefficients) -> Terms:
    """The parts of the pass that some member needs at some step (waits for the device once)."""
    c = coefficients
    needed = torch.stack(
        [
            (c.l2 != 0).any(),
            (c.square_gain != 0).any(),
            (c.mean_gain != 0).any(),
            (c.peak_keep != 0).any(),
            (c.low.isfinite() | c.high.isfinite()).any(),
            (c.early != 0).any(),
            (c.buffer_gain != 0).any(),
            (c.shrink != 1).any(),
            (c.from_gradient != 0).any(),
        ]
    )
    return Terms(*needed.tolist())


def pack(coefficients: Coefficients, dtype: torch.dtype, device: torch.device | str = "cpu") -> Tensor:
    """Coefficients as the pass takes them: ``[..., members, fields]``, contiguous, rounded to ``dtype``."""
    return torch.stack(coefficients, dim=-1).to(device=device, dtype=dtype).contiguous()
