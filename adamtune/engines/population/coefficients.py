"""The scalars that turn every update rule into one elementwise pass, for all members and steps at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.schedules.registry import lr_factor


class Coefficients(NamedTuple):
    """An update rule at one step of one member; every field is a tensor ``[..., members]``.

    With parameters x, their gradient g and the state (all zero before the first step)::

        g              = min(1, clip_norm / (norm + 1e-6)) * g    with the norm of the member's whole gradient
        g              = g + l2 * x
        exp_avg_sq     = sq_decay * exp_avg_sq + sq_gain * g * g
        grad_avg       = sq_decay * grad_avg + grad_avg_gain * g
        second         = abs(g) + abs_floor                      where abs_gain is not 0, else exp_avg_sq
        max_exp_avg_sq = max(max_decay * max_exp_avg_sq, second)
        second         = max_exp_avg_sq - grad_avg * grad_avg
        scale          = clip(1 / (root * (second where abs_gain else sqrt(second)) + floor), low, high)
        g              = g * scale                               where scale_first is 1
        direction      = sign(from_avg * exp_avg + from_gradient * g)
        exp_avg        = avg_decay * exp_avg + avg_gain * g
        step           = sign_lr * direction where sign, else from_avg * exp_avg + from_gradient * g
        x              = shrink * x - (1 where scale_first else scale) * step

    A member whose ``sq_gain`` and ``abs_gain`` are 0 has no second moment: its grad_avg_gain, max_decay,
    root, floor and clip are neutral. The values in ``NEUTRAL`` make a line do nothing, to the last bit: terms
    that no member needs can be skipped, and a member does not depend on its neighbours' rules. Where
    ``max_decay`` is 0, ``max_exp_avg_sq`` is not kept: its buffer's values have no meaning.
    """

    l2: Tensor
    sq_decay: Tensor
    sq_gain: Tensor
    grad_avg_gain: Tensor
    abs_gain: Tensor
    abs_floor: Tensor
    max_decay: Tensor
    root: Tensor
    floor: Tensor
    low: Tensor
    high: Tensor
    scale_first: Tensor
    avg_decay: Tensor
    avg_gain: Tensor
    sign: Tensor
    sign_lr: Tensor
    shrink: Tensor
    from_avg: Tensor
    from_gradient: Tensor
    clip_norm: Tensor


NEUTRAL = {
    **dict.fromkeys(Coefficients._fields, 0.0),
    "floor": 1.0,
    "low": -torch.inf,
    "high": torch.inf,
    "shrink": 1.0,
    "clip_norm": torch.inf,
}


class Terms(NamedTuple):
    """The parts of the pass that a population needs; the buffers of the others may be absent."""

    l2: bool
    exp_avg_sq: bool
    grad_avg: bool
    absolute: bool
    max_exp_avg_sq: bool
    clip: bool
    scale_first: bool
    exp_avg: bool
    sign: bool
    shrink: bool
    gradient: bool
    clip_norm: bool

    @property
    def scale(self) -> bool:
        """Whether some member's step is divided by its second moment."""
        return self.exp_avg_sq or self.absolute


def coefficients_like(step: Tensor, fields: Mapping[str, Tensor | float] | None = None) -> Coefficients:
    """Coefficients of the shape of ``step`` (float64); fields not given are neutral."""
    return Coefficients(
        **{
            name: torch.as_tensor(value, dtype=torch.float64, device=step.device).expand(step.shape)
            for name, value in (NEUTRAL | dict(fields or {})).items()
        }
    )


def terms(coefficients: Coefficients) -> Terms:
    """The parts of the pass that some member needs at some step (waits for the device once)."""
    c = coefficients
    needed = torch.stack(
        [
            (c.l2 != 0).any(),
            (c.sq_gain != 0).any(),
            (c.grad_avg_gain != 0).any(),
            (c.abs_gain != 0).any(),
            (c.max_decay != 0).any(),
            (c.low.isfinite() | c.high.isfinite()).any(),
            (c.scale_first != 0).any(),
            (c.avg_gain != 0).any(),
            (c.sign != 0).any(),
            (c.shrink != 1).any(),
            (c.from_gradient != 0).any(),
            c.clip_norm.isfinite().any(),
        ]
    )
    return Terms(*needed.tolist())


def pack(coefficients: Coefficients, dtype: torch.dtype, device: torch.device | str = "cpu") -> Tensor:
    """Coefficients as the pass takes them: ``[..., members, fields]``, contiguous, rounded to ``dtype``."""
    return torch.stack(coefficients, dim=-1).to(device=device, dtype=dtype).contiguous()


def optimizer_coefficients(
    optimizers: Sequence[str], hyperparameters: Sequence[Mapping[str, float]], step: Tensor, lr: Tensor
) -> Coefficients:
    """The coefficients of every member at every one of some steps.

    Args:
        optimizers: each member's optimizer, a name in ``OPTIMIZERS`` whose rule the pass can express.
        hyperparameters: each member's hyperparameters, by catalog name, none missing.
        step: int64 ``[steps, members]``, 1 for the first update.
        lr: the scheduled learning rate, float64 ``[steps, members]``.
    """
    result = torch.stack(coefficients_like(step))
    for name, at, values in _by_name(optimizers, hyperparameters, step.device):
        rule = OPTIMIZERS[name].rule
        assert rule is not None
        result[:, :, at] = torch.stack(coefficients_like(step[:, at], rule(values, step[:, at], lr[:, at])))
    return Coefficients(*result)


def schedule_factors(
    schedules: Sequence[str], hyperparameters: Sequence[Mapping[str, float]], step: Tensor, total: Tensor
) -> Tensor:
    """The factor on every member's lr at every one of some steps, float64 ``[steps, members]``.

    Args:
        schedules: each member's schedule, a name in ``SCHEDULES``.
        hyperparameters: each member's schedule hyperparameters, by catalog name, none missing.
        step: int64 ``[steps, members]``, 0 for the first update.
        total: int64 ``[members]``, the steps of each member's whole training.
    """
    result = torch.empty(step.shape, dtype=torch.float64, device=step.device)
    for name, at, values in _by_name(schedules, hyperparameters, step.device):
        result[:, at] = lr_factor(name, step[:, at], total[at], values)
    return result


def _by_name(
    names: Sequence[str], hyperparameters: Sequence[Mapping[str, float]], device: torch.device
) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
    """Each name, the indices of its members, and their hyperparameters as float64 vectors."""
    for name in dict.fromkeys(names):
        members = [index for index, each in enumerate(names) if each == name]
        columns = {
            key: torch.tensor([hyperparameters[i][key] for i in members], dtype=torch.float64, device=device)
            for key in hyperparameters[members[0]]
        }
        yield name, torch.tensor(members, device=device), columns
