"""One optimizer step of a population of members, whatever their rules: one elementwise pass.

Two implementations of the equations in ``Coefficients``, equal to the last bit in float32 and
float64, because both round every operation on its own: torch operations on blocks of members that
fit in the cache (any device), and a fused C loop (CPU, where there is a C compiler).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from adamtune.engines import native
from adamtune.engines.native.loader import load_library
from adamtune.engines.population.coefficients import Coefficients, Terms, coefficients_like, pack

BLOCK = 1 << 16
"""Elements of a block on the CPU: parameters, gradient, state and scratch stay in a 2 MB cache."""
FIELDS = len(Coefficients._fields)
HOLD = {"avg_decay": 1.0, "sq_decay": 1.0, "max_decay": 1.0}
"""The coefficients that are not neutral where a gradient of zero leaves parameters and state as they are."""
CLIP_NORM = Coefficients._fields.index("clip_norm")


class State(NamedTuple):
    """The state of the rules, each ``[members, n]`` like the parameters; zero before the first step.

    ``None`` where no member needs it. The names are torch's; ``Optimizer.state`` lists where a rule's differ.
    """

    exp_avg: Tensor | None
    exp_avg_sq: Tensor | None
    grad_avg: Tensor | None
    max_exp_avg_sq: Tensor | None


NO_STATE = State(None, None, None, None)


def state_needed(needed: Terms) -> list[bool]:
    """Whether each field of ``State`` is needed."""
    return [getattr(needed, name) for name in State._fields]


def grow_state(state: State, parameters: Tensor, needed: Terms) -> State:
    """``state`` with zeros for buffers that are needed and missing; ``parameters`` is ``[members, n]``."""
    wanted = zip(state, state_needed(needed), strict=True)
    return State(*(torch.zeros_like(parameters) if want and each is None else each for each, want in wanted))


class Part(NamedTuple):
    """One tensor of a population's model: parameters and gradient ``[members, n]``, and its state.

    Without ``decays`` its weights do not decay, whatever the coefficients.
    """

    parameters: Tensor
    gradient: Tensor
    state: State
    decays: bool = True


def bind_update(
    parts: Sequence[Part], packed: Tensor, needed: Terms, scale: Tensor | None = None
) -> Callable[[], None]:
    """A function that takes one step, changing ``parameters`` and ``state`` of every part in place.

    Rows (members) are independent: a NaN stays in its row. The tensors are checked here, once, and
    must stay where they are.

    Args:
        parts: every buffer that ``needed`` asks for is there; rows of a new member are zero.
        packed: coefficients of a step ``[members, fields]``, of the parameters' dtype and device.
        needed: the parts of the pass that some member needs.
        scale: a factor on each member's gradient before all else, ``[members]``. Where it is negative, the
            member's parameters and state are left as they are.

    Raises:
        ValueError: shapes, dtypes or devices differ, a buffer is missing, or one is not contiguous.
    """
    for part in parts:
        _check(part, packed, needed)
    if all(_c_handles(part.parameters) for part in parts):
        return _bind_c(parts, packed, needed, scale)
    return bind_blocks(parts, packed, needed, scale)


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


def update_(parameters: Tensor, gradient: Tensor, state: State, packed: Tensor, needed: Terms) -> None:
    """One step of one tensor: ``bind_update``, called at once."""
    bind_update([Part(parameters, gradient, state)], packed, needed)()


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


def _check(part: Part, packed: Tensor, needed: Terms) -> None:
    """What would corrupt memory, or train something else, if it went unnoticed."""
    parameters, gradient, state, _ = part
    shape, kind = parameters.shape, (parameters.dtype, parameters.device)
    for name, buffer, want in zip(State._fields, state, state_needed(needed), strict=True):
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


SOURCE = Path(native.__file__).with_name("update.c")
FLAGS = ("-ffp-contract=off", "-fno-math-errno")
KINDS = {torch.float32: "float", torch.float64: "double"}


def _c_handles(parameters: Tensor) -> bool:
    """Whether the C pass is available and takes such tensors."""
    return parameters.device.type == "cpu" and parameters.dtype in KINDS and c_functions() is not None


def _bind_c(parts: Sequence[Part], packed: Tensor, needed: Terms, scale: Tensor | None) -> Callable[[], None]:
    """``bind_update`` through C, for tensors that are checked."""
    loaded = c_functions()
    assert loaded is not None
    update, clip = loaded[packed.dtype]
    scale = packed.new_ones(len(packed)) if scale is None else scale
    gain = scale.clone() if needed.clip_norm else scale
    decays = (ctypes.c_int * len(parts))(*(part.decays for part in parts))
    tensors = [(part.parameters, part.gradient, *part.state) for part in parts]
    counts = (ctypes.c_ssize_t * len(parts))(*(part.parameters.shape[1] for part in parts))
    pointers = [
        (ctypes.c_void_p * len(parts))(*(None if each is None else each.data_ptr() for each in column))
        for column in zip(*tensors, strict=True)
    ]

    own = packed.data_ptr(), scale.data_ptr()

    def step(kept: object = (tensors, packed, scale)) -> None:  # the memory lives as long as the function
        if needed.clip_norm:
            clip(len(parts), len(packed), counts, pointers[1], *own, gain.data_ptr())
        update(len(parts), len(packed), counts, decays, *pointers, own[0], gain.data_ptr())

    return step


@cache
def c_functions() -> dict[torch.dtype, tuple[ctypes._NamedFuncPointer, ctypes._NamedFuncPointer]] | None:
    """The update and the clipping in C by dtype, or None where C is turned off or cannot be compiled."""
    loaded = load_library(SOURCE, FLAGS)
    if loaded is None:
        return None
    functions = {
        dtype: (loaded[f"adamtune_update_{kind}"], loaded[f"adamtune_clip_{kind}"])
        for dtype, kind in KINDS.items()
    }
    for update, clip in functions.values():
        for function, pointers in ((update, 10), (clip, 5)):
            function.argtypes = [ctypes.c_ssize_t] * 2 + [ctypes.c_void_p] * pointers
            function.restype = None
    return functions
