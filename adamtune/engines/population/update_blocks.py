"""The elementwise pass as torch operations on blocks of members that fit in the cache, on any device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from adamtune.engines.population.coefficients import Coefficients, Terms, coefficients_like, pack
from adamtune.engines.population.update_state import Part, State

BLOCK = 1 << 16
"""Elements of a block on the CPU: parameters, gradient, state and scratch stay in a 2 MB cache."""
HOLD = {"avg_decay": 1.0, "sq_decay": 1.0, "max_decay": 1.0}
"""The coefficients that are not neutral where a gradient of zero leaves parameters and state as they are."""
CLIP_NORM = Coefficients._fields.index("clip_norm")


def bind_blocks(
    parts: Sequence[Part], packed: Tensor, needed: Terms, scale: Tensor | None = None
) -> Callable[[], None]:
    """``bind_update`` in torch operations, for tensors that are checked."""
    hold = pack(coefficients_like(packed[:, 0], HOLD), packed.dtype, packed.device)

    def step() -> None:
        gain = clip_gain(parts, packed, scale) if needed.clip_norm else scale
        held = packed
        if scale is not None:
            held = torch.where((scale < 0).unsqueeze(-1), hold, packed)
        for parameters, gradient, state, decays in parts:
            own = needed if decays else needed._replace(l2=False, shrink=False)
            update_blocks_(parameters, gradient, state, held, own, gain)

    return step


def clip_gain(parts: Sequence[Part], packed: Tensor, scale: Tensor | None) -> Tensor:
    """The scale with the factor that limits the norm of a member's gradient, as ``clip_grad_norm_``.

    Arguments and result are as those of ``bind_update``.
    """
    norms = [torch.linalg.vector_norm(part.gradient, dim=1) for part in parts]
    norm, limit = torch.linalg.vector_norm(torch.stack(norms), dim=0), packed[:, CLIP_NORM]
    scale = torch.ones_like(norm) if scale is None else scale
    factor = (limit / (norm * scale + 1e-6)).clamp(max=1.0)
    return scale * torch.where(limit.isinf() | (scale < 0), 1.0, factor)


@torch.no_grad()
def update_blocks_(
    parameters: Tensor,
    gradient: Tensor,
    state: State,
    packed: Tensor,
    needed: Terms,
    gain: Tensor | None = None,
) -> None:
    """``update_`` in torch operations, a cache-sized block of members after the other.

    The gradient of each member is multiplied by its ``gain``, ``[members]``, or zero where that is negative.
    """
    members, n = parameters.shape
    rows = min(members, max(1, BLOCK // max(n, 1))) if parameters.device.type == "cpu" else members
    scratch = [parameters.new_empty(rows, n) for _ in range(3)]
    for first in range(0, members, rows):
        at = slice(first, first + rows)
        block = _Block(
            parameters[at],
            gradient[at] if gain is None else _times(gradient[at], gain[at].unsqueeze(-1)),
            State(*(None if buffer is None else buffer[at] for buffer in state)),
            Coefficients(*packed[at].unsqueeze(-1).unbind(-2)),
            *(each[: members - first] for each in scratch),
        )
        _block_(block, needed)


def _times(gradient: Tensor, gain: Tensor) -> Tensor:
    return torch.where(gain < 0, 0.0, gradient * gain)


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
    if needed.scale:
        _scale_(g, block, needed)
        if needed.scale_first:
            first = c.scale_first != 0
            g = torch.mul(g, torch.where(first, scale, 1.0), out=step)
            scale = torch.where(first, 1.0, scale)
    signed = _signed(g, state, c) if needed.sign else None
    if state.exp_avg is not None and needed.exp_avg:
        state.exp_avg.mul_(c.avg_decay).add_(torch.mul(g, c.avg_gain, out=spare))
        torch.mul(state.exp_avg, c.from_avg, out=spare)
        if needed.gradient:
            spare.add_(torch.mul(g, c.from_gradient, out=step))
    else:
        torch.mul(g, c.from_gradient, out=spare)
    if signed is not None:
        spare = torch.where(c.sign != 0, signed, spare)
    if needed.scale:
        spare.mul_(scale)
    if needed.shrink:
        x.mul_(c.shrink)
    x.sub_(spare)


def _scale_(g: Tensor, block: _Block, needed: Terms) -> None:
    """Updates exp_avg_sq, grad_avg and max_exp_avg_sq, and computes ``scale`` from them."""
    state, c, spare, scale = block.state, block.coefficients, block.spare, block.scale
    second = torch.zeros_like(g)
    if state.exp_avg_sq is not None and needed.exp_avg_sq:
        second = state.exp_avg_sq.mul_(c.sq_decay).add_(torch.mul(g, c.sq_gain, out=spare).mul_(g))
    if needed.absolute:
        second = torch.where(c.abs_gain != 0, torch.abs(g, out=spare).add_(c.abs_floor), second)
    if state.max_exp_avg_sq is not None and needed.max_exp_avg_sq:
        second = torch.maximum(state.max_exp_avg_sq.mul_(c.max_decay), second, out=state.max_exp_avg_sq)
    if state.grad_avg is not None and needed.grad_avg:
        state.grad_avg.mul_(c.sq_decay).add_(torch.mul(g, c.grad_avg_gain, out=spare))
        second = torch.sub(second, torch.mul(state.grad_avg, state.grad_avg, out=spare), out=scale)
    if needed.absolute:
        torch.where(c.abs_gain != 0, second, _sqrt_(second, spare), out=scale)
    else:
        _sqrt_(second, scale)
    scale.mul_(c.root).add_(c.floor).reciprocal_()
    if needed.clip:
        torch.clamp(scale, c.low, c.high, out=scale)


def _signed(g: Tensor, state: State, c: Coefficients) -> Tensor:
    """``sign_lr`` along the sign of the running mean, before its update, and the gradient."""
    direction = g * c.from_gradient
    if state.exp_avg is not None:
        direction += state.exp_avg * c.from_avg
    # torch's sign of NaN is 0, which would hide that the member diverged.
    return torch.where(direction.isnan(), direction, direction.sign().mul_(c.sign_lr))


def _sqrt_(values: Tensor, out: Tensor) -> Tensor:
    """The correctly rounded root; torch's on the CPU may be one unit in the last place off (MKL)."""
    if values.device.type != "cpu":
        return torch.sqrt(values, out=out)
    with np.errstate(invalid="ignore"):
        np.sqrt(values.numpy(), out=out.numpy())
    return out
