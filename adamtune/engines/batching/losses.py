"""Batching rules of losses: cross-entropy of class indices, squared errors, and Gaussian likelihoods."""

from __future__ import annotations

from math import log, pi
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
    """Mean cross-entropy of logits ``input [rows, classes]`` and classes ``target [rows]``: a scalar in nats.

    Rows with the target ``ignore_index`` do not count. Calls with weights, label smoothing or another
    reduction, and targets that are not class indices, are left to torch.
    """
    plain = weight is None and reduction == "mean" and label_smoothing == 0.0
    fitting = input.dim() == 2 and target.shape == input.shape[:1] and target.dtype == torch.int64
    if not plain or not fitting:
        return F.cross_entropy(
            input, target, weight, size_average, ignore_index, reduce, reduction, label_smoothing
        )
    # Each row's part of the mean: 1 / (rows that count), or 0. The target of a row that does not count
    # becomes 0, because as an index it may be out of range.
    counted = target != ignore_index
    share = counted.to(input.dtype) / counted.sum()
    function = _CrossEntropyKernel if handles(input) else _CrossEntropy
    return for_members(function.apply, input, target * counted, share)


class _CrossEntropy(torch.autograd.Function):
    """``logits [members, rows, classes]``, ``target`` and ``share [members, rows]`` -> losses ``[members]``.

    A row's share is its weight in the sum. Computed by torch operations.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, share: Tensor) -> Tensor:
        index = target.unsqueeze(-1)
        # Without the largest logit, which the loss does not depend on, no exponential overflows.
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
    """The same, by the kernel."""

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
    """The mean of ``(input - target)`` squared, of tensors of one shape: a scalar.

    Other reductions, weights and tensors that no kernel takes are left to torch.
    """
    # Arguments left out arrive as None or not at all; any other may change what is computed.
    settings = {name: value for name, value in kwargs.items() if value is not None}
    plain = not args and settings in ({}, {"reduction": "mean"})
    if not plain or input.shape != target.shape or not input.dim() or not handles(input, target):
        return F.mse_loss(input, target, *args, **kwargs)
    return for_members(_SquaredErrorKernel.apply, input.reshape(-1), target.reshape(-1))


class _SquaredErrorKernel(torch.autograd.Function):
    """``x`` and ``target [members, numbers]`` -> losses ``[members]``, by the kernel."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, target: Tensor) -> Tensor:
        x, target = dense(x), dense(target)
        ctx.save_for_backward(x, target)
        return kernels.mse_loss.call(x, target)  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        by_x = kernels.mse_loss_backward.call(gradient.contiguous(), *ctx.saved_tensors)
        return by_x, -by_x if ctx.needs_input_grad[1] else None


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """The negative log-likelihood of ``target`` for a mean ``input`` and a variance ``var``, in nats.

    Torch's function reads whether a variance is negative, which it refuses. Here the loss is then NaN.
    """
    variance = input.new_full((), var) if isinstance(var, float) else var
    if variance.shape != input.shape and variance.shape == input.shape[:-1]:
        variance = variance.unsqueeze(-1)
    # Without a gradient at the bound, as in torch.
    fixed = variance.detach()
    variance = variance + torch.where(fixed < 0, torch.nan, fixed.clamp(min=eps) - fixed)
    loss = 0.5 * (variance.log() + (input - target).square() / variance)
    loss = loss + 0.5 * log(2 * pi) if full else loss
    return loss if reduction == "none" else loss.sum() if reduction == "sum" else loss.mean()
