"""One optimizer step of a population of members, whatever their rules: one elementwise pass.

Two implementations of the equations in ``Coefficients``, ``update_blocks.py`` and ``update_in_c.py``, are
equal to the last bit in float32 and float64, because both round every operation on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from adamtune.engines.population.coefficients import Coefficients, Terms
from adamtune.engines.population.update_blocks import bind_blocks
from adamtune.engines.population.update_in_c import bind_c, c_handles
from adamtune.engines.population.update_state import Part, State, state_needed

FIELDS = len(Coefficients._fields)


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
    if all(c_handles(part.parameters) for part in parts):
        return bind_c(parts, packed, needed, scale)
    return bind_blocks(parts, packed, needed, scale)


def update_(parameters: Tensor, gradient: Tensor, state: State, packed: Tensor, needed: Terms) -> None:
    """One step of one tensor: ``bind_update``, called at once."""
    bind_update([Part(parameters, gradient, state)], packed, needed)()


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
