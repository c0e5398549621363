"""Cross-entropy of logits with class indices."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from adamtune.engines.batching.members import dense, for_members
from adamtune.engines.native import kernels
from adamtune.engines.native.loader import handles


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Mean cross-entropy of ``input [rows, classes]`` with class indices ``target [rows]``."""
    plain = weight is None and reduction == "mean" and label_smoothing == 0.0
    fitting = input.dim() == 2 and target.shape == input.shape[:1] and target.dtype == torch.int64
    if not plain or not fitting:
        return F.cross_entropy(
            input, target, weight, size_average, ignore_index, reduce, reduction, label_smoothing
        )
    counted = target != ignore_index
    share = counted.to(input.dtype) / counted.sum()
    function = _CrossEntropyKernel if handles(input) else _CrossEntropy
    return for_members(function.apply, input, target * counted, share)


class _CrossEntropy(torch.autograd.Function):
    """``logits [members, rows, classes]``, ``target [members, rows]``, ``share``: its part of the loss."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, share: Tensor) -> Tensor:
        index = target.unsqueeze(-1)
        shifted = logits - logits.amax(-1, keepdim=True)
        chosen = shifted.gather(-1, index)
        weights = shifted.exp_()
        total = weights.sum(-1, keepdim=True)
        ctx.save_for_backward(weights, total, index, share)
        return ((total.log() - chosen).squeeze(-1) * share).sum(-1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        weights, total, index, share = ctx.saved_tensors
        scale = (gradient.unsqueeze(-1) * share).unsqueeze(-1)
        return (weights * (scale / total)).scatter_add_(-1, index, -scale), None, None


class _CrossEntropyKernel(torch.autograd.Function):
    """The same."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, share: Tensor) -> Tensor:
        target, share = dense(target), dense(share)
        losses: Tensor
        losses, probabilities = kernels.cross_entropy.call(logits.contiguous(), target, share)
        ctx.save_for_backward(probabilities, target, share)
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        by_logits = kernels.cross_entropy_backward.call(gradient.contiguous(), *ctx.saved_tensors)
        return by_logits, None, None


def mse_loss(input: Tensor, target: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """The mean of ``(input - target)`` squared. What has no kernel is left to torch."""
    settings = {name: value for name, value in kwargs.items() if value is not None}
    plain = not args and settings in ({}, {"reduction": "mean"})
    if not plain or input.shape != target.shape or not input.dim() or not handles(input, target):
        return F.mse_loss(input, target, *args, **kwargs)
    return for_members(_SquaredErrorKernel.apply, input.reshape(-1), target.reshape(-1))


class _SquaredErrorKernel(torch.autograd.Function):
    """``x`` and ``target`` ``[members, numbers]``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, target: Tensor) -> Tensor:
        x, target = dense(x), dense(target)
        ctx.save_for_backward(x, target)
        losses: Tensor = kernels.mse_loss.call(x, target)
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        by_x = kernels.mse_loss_backward.call(gradient.contiguous(), *ctx.saved_tensors)
        return by_x, -by_x if ctx.needs_input_grad[1] else None
