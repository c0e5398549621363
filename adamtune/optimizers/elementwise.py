"""One optimizer step of a population of members, whatever their rules: one elementwise pass.

Two implementations of the equations in ``Coefficients``, equal to the last bit in float32 and
float64, because both round every operation on its own: torch operations on blocks of members that
fit in the cache (any device), and a fused C loop (CPU, where there is a C compiler).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from adamtune.optimizers import fused
from adamtune.optimizers.coefficients import Coefficients, Terms

BLOCK = 1 << 16
"""Elements of a block on the CPU: parameters, gradient, state and scratch stay in a 2 MB cache."""
FIELDS = len(Coefficients._fields)


class State(NamedTuple):
    """What a rule remembers, each ``[members, n]`` like the parameters; zero before the first step.

    ``None`` where no member needs it. In torch's terms: ``buffer`` is ``exp_avg`` or
    ``momentum_buffer``, ``square`` is ``exp_avg_sq`` or ``square_avg``, ``mean`` is ``grad_avg``,
    ``peak`` is ``max_exp_avg_sq``.
    """

    buffer: Tensor | None
    square: Tensor | None
    mean: Tensor | None
    peak: Tensor | None


def init(parameters: Tensor, needed: Terms) -> State:
    """The state before the first step, for parameters ``[members, n]``."""
    wanted = (needed.buffer, needed.square, needed.mean, needed.peak)
    return State(*(torch.zeros_like(parameters) if want else None for want in wanted))


class Part(NamedTuple):
    """One tensor of a population's model: parameters and gradient ``[members, n]``, and its state."""

    parameters: Tensor
    gradient: Tensor
    state: State


def bind(parts: Sequence[Part], packed: Tensor, needed: Terms) -> Callable[[], None]:
    """A function that takes one step, changing ``parameters`` and ``state`` of every part in place.

    Rows (members) are independent: a NaN stays in its row. The tensors are checked here, once, and
    must stay where they are.

    Args:
        parts: every buffer that ``needed`` asks for is there; rows of a new member are zero.
        packed: coefficients of a step ``[members, fields]``, of the parameters' dtype and device.
        needed: the parts of the pass that some member needs.

    Raises:
        ValueError: shapes, dtypes or devices differ, a buffer is missing, or one is not contiguous.
    """
    for part in parts:
        _check(part, packed, needed)
    if all(fused.handles(part.parameters) for part in parts):
        return fused.bind(parts, packed)

    def step() -> None:
        for part in parts:
            update_blocks_(*part, packed, needed)

    return step


def update_(parameters: Tensor, gradient: Tensor, state: State, packed: Tensor, needed: Terms) -> None:
    """One step of one tensor: ``bind``, called at once."""
    bind([Part(parameters, gradient, state)], packed, needed)()


@torch.no_grad()
def update_blocks_(parameters: Tensor, gradient: Tensor, state: State, packed: Tensor, needed: Terms) -> None:
    """``update_`` in torch operations, a cache-sized block of members after the other."""
    members, n = parameters.shape
    rows = min(members, max(1, BLOCK // max(n, 1))) if parameters.device.type == "cpu" else members
    scratch = [parameters.new_empty(rows, n) for _ in range(3)]
    for first in range(0, members, rows):
        at = slice(first, first + rows)
        block = _Block(
            parameters[at],
            gradient[at],
            State(*(None if buffer is None else buffer[at] for buffer in state)),
            Coefficients(*packed[at].unsqueeze(-1).unbind(-2)),
            *(each[: members - first] for each in scratch),
        )
        _block_(block, needed)


class _Block(NamedTuple):
    """Some members' rows, their coefficients as columns ``[rows, 1]``, and room to work in."""

    parameters: Tensor
    gradient: Tensor
    state: State
    coefficients: Coefficients
    spare: Tensor
    scale: Tensor
    step: Tensor


def _block_(block: _Block, needed: Terms) -> None:
    # Multiplications and additions stay separate calls: addcmul and lerp may fuse and round once.
    x, g, state, c, spare, scale, step = block
    if needed.l2:
        g = torch.mul(x, c.l2, out=step).add_(g)
    if needed.square:
        _scale_(g, block, needed)
        if needed.early:
            early = c.early != 0
            g = torch.mul(g, torch.where(early, scale, 1.0), out=step)
            scale = torch.where(early, 1.0, scale)
    if state.buffer is not None and needed.buffer:
        state.buffer.mul_(c.buffer_decay).add_(torch.mul(g, c.buffer_gain, out=spare))
        torch.mul(state.buffer, c.from_buffer, out=spare)
        if needed.gradient:
            spare.add_(torch.mul(g, c.from_gradient, out=step))
    else:
        torch.mul(g, c.from_gradient, out=spare)
    if needed.square:
        spare.mul_(scale)
    if needed.shrink:
        x.mul_(c.shrink)
    x.sub_(spare)


def _scale_(g: Tensor, block: _Block, needed: Terms) -> None:
    """Updates square, mean and peak, and writes ``clip(1 / (root * sqrt(...) + floor))`` to ``scale``."""
    state, c, spare, scale = block.state, block.coefficients, block.spare, block.scale
    assert state.square is not None
    state.square.mul_(c.square_decay).add_(torch.mul(g, c.square_gain, out=spare).mul_(g))
    second = state.square
    if state.peak is not None and needed.peak:
        second = torch.maximum(state.peak.mul_(c.peak_keep), second, out=state.peak)
    if state.mean is not None and needed.mean:
        state.mean.mul_(c.square_decay).add_(torch.mul(g, c.mean_gain, out=spare))
        second = torch.sub(second, torch.mul(state.mean, state.mean, out=spare), out=scale)
    _sqrt_(second, scale).mul_(c.root).add_(c.floor).reciprocal_()
    if needed.clip:
        torch.clamp(scale, c.low, c.high, out=scale)


def _sqrt_(values: Tensor, out: Tensor) -> Tensor:
    """The correctly rounded root; torch's on the CPU may be one unit in the last place off (MKL)."""
    if values.device.type != "cpu":
        return torch.sqrt(values, out=out)
    with np.errstate(invalid="ignore"):
        np.sqrt(values.numpy(), out=out.numpy())
    return out


def _check(part: Part, packed: Tensor, needed: Terms) -> None:
    """What would corrupt memory, or train something else, if it went unnoticed."""
    parameters, gradient, state = part
    shape, kind = parameters.shape, (parameters.dtype, parameters.device)
    wanted = (needed.buffer, needed.square, needed.mean, needed.peak)
    for name, buffer, want in zip(State._fields, state, wanted, strict=True):
        if want and buffer is None:
            raise ValueError(f"the state has no {name}, but a member's rule needs it")
        if buffer is not None and buffer.shape != shape:
            raise ValueError(f"{name} is {tuple(buffer.shape)}, parameters are {tuple(shape)}")
    if gradient.shape != shape or packed.shape != (shape[0], FIELDS):
        raise ValueError(
            f"parameters {tuple(shape)} want a gradient of that shape and coefficients "
            f"({shape[0]}, {FIELDS}), got {tuple(gradient.shape)} and {tuple(packed.shape)}"
        )
    for tensor in (gradient, packed, *(each for each in state if each is not None)):
        if (tensor.dtype, tensor.device) != kind:
            raise ValueError(
                f"parameters are {kind}, gradient, state or coefficients ({tensor.dtype}, {tensor.device})"
            )
    if not all(each is None or each.is_contiguous() for each in (parameters, gradient, *state, packed)):
        raise ValueError("parameters, gradient, state and coefficients must be contiguous")
