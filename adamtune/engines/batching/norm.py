"""Batching rules of normalisation: over a layer's width, over a batch, and over groups of channels.

The last two have one kernel. Images have their channels last in memory, as convolutions leave them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from adamtune.engines.batching.members import for_members, with_settings
from adamtune.engines.native import norm_kernels
from adamtune.engines.native.loader import handles
from adamtune.engines.torch_private import is_batched


def layer_norm(
    input: Tensor,
    normalized_shape: list[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """``input [..., width]`` standardised over the width (Ba et al., 2016), times ``weight``, plus ``bias``.

    Both are ``[width]``. Normalisation over several dimensions is left to torch.
    """
    shape = tuple(normalized_shape)
    own = [each.shape for each in (weight, bias) if each is not None]
    if len(shape) != 1 or any(each != shape for each in (input.shape[-1:], *own)):
        return torch.layer_norm(input, normalized_shape, weight, bias, eps, cudnn_enable)
    if handles(input, weight, bias) and weight is not None and bias is not None:
        return for_members(with_settings(_LayerNormKernel, eps), input, weight, bias)
    normal = for_members(with_settings(_Standardisation, eps), input)
    scaled = normal if weight is None else normal * weight
    return scaled if bias is None else scaled + bias


class _Standardisation(torch.autograd.Function):
    """``x [members, ..., width]`` to mean 0 and variance 1 over the width, in torch operations."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scale = (centred * centred).mean(-1, keepdim=True).add_(eps).rsqrt_()
        normal = centred.mul_(scale)
        ctx.save_for_backward(normal, scale)
        return normal

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        normal, scale = ctx.saved_tensors
        # Mean and variance of the result are fixed, so the gradient has no part along either.
        along = (gradient * normal).mean(-1, keepdim=True)
        centred = gradient - gradient.mean(-1, keepdim=True)
        return centred.addcmul_(normal, along, value=-1).mul_(scale), None


class _LayerNormKernel(torch.autograd.Function):
    """The same, then times ``weight [members, width]``, plus ``bias [members, width]``, by the kernel."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        x, weight = x.contiguous(), weight.contiguous()
        y: Tensor
        y, means, scales = norm_kernels.layer_norm.call(x, weight, bias.contiguous(), eps)
        ctx.save_for_backward(x, weight, means, scales)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        by_y = gradient.contiguous()
        by_x, by_weight, by_bias = norm_kernels.layer_norm_backward.call(by_y, *ctx.saved_tensors)
        return by_x, by_weight, by_bias, None


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """``input [batch, channels, ...]`` standardised by channel (Ioffe and Szegedy, 2015).

    Then times ``weight``, plus ``bias``, ``[channels]`` each, as the running mean and variance are. Training
    updates these. A single row and tensors of other shapes or precisions are left to torch.
    """
    running = [each for each in (running_mean, running_var) if each is not None]
    count = prod(input.shape[:1] + input.shape[2:])
    fitting = len(running) != 1 and eps > 0 and _fitting(input, weight, bias, *running)
    if fitting and not training and running_mean is not None and running_var is not None:
        scale = (running_var + eps).rsqrt()
        factor = scale if weight is None else scale * weight
        y = (input - _by_channel(running_mean, input)) * _by_channel(factor, input)
        return y if bias is None else y + _by_channel(bias, input)
    if not fitting or not training or count < 2 or not all(map(is_batched, running)):
        return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    y, mean, variance = _normalised(input, weight, bias, 1, eps, whole_batch=True)
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.mul_(1 - momentum).add_(mean.view(-1) * momentum)
            running_var.mul_(1 - momentum).add_(variance.view(-1) * (momentum * count / (count - 1)))
    return y


def _by_channel(values: Tensor, images: Tensor) -> Tensor:
    """``values [channels]``, to be combined with ``images [batch, channels, ...]``."""
    return values.view(-1, *[1] * (images.dim() - 2))


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """``input [batch, channels, ...]`` standardised by group of channels of each row (Wu and He, 2018).

    Then times ``weight``, plus ``bias``, ``[channels]`` each. Tensors of other shapes or precisions are
    left to torch.
    """
    channels = input.shape[1] if input.dim() > 1 else 0
    grouped = num_groups > 0 and channels % num_groups == 0
    if not grouped or not _fitting(input, weight, bias) or input[0].numel() <= num_groups:
        return F.group_norm(input, num_groups, weight, bias, eps)
    return _normalised(input, weight, bias, channels // num_groups, eps, whole_batch=False)[0]


def _fitting(input: Tensor, *by_channel: Tensor | None) -> bool:
    """Whether the kernel takes an input ``[batch, channels, ...]`` and tensors ``[channels]``."""
    if input.dim() < 2 or not input.numel() or not handles(input, *by_channel):
        return False
    return all(each is None or each.shape == input.shape[1:2] for each in by_channel)


def _normalised(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, joined: int, eps: float, whole_batch: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The result, means and variances; over the whole batch, or over each row and ``joined`` channels."""
    channels = input.shape[1]
    weight = input.new_ones(channels) if weight is None else weight
    bias = input.new_zeros(channels) if bias is None else bias
    settings = with_settings(_NormaliseKernel, joined, eps, whole_batch)
    return for_members(settings, input, weight, bias)  # type: ignore[return-value]


class _NormaliseKernel(torch.autograd.Function):
    """``x [members, batch, channels, ...]`` by the kernel; ``weight``, ``bias [members, channels]``."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, joined: int, eps: float, whole_batch: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        pixels, weight = x.movedim(2, -1).contiguous(), weight.contiguous()
        y, means, scales, variances, _ = norm_kernels.normalise.call(
            pixels, weight, bias.contiguous(), joined, whole_batch, eps
        )
        ctx.save_for_backward(pixels, weight, means, scales)
        ctx.settings = joined, whole_batch
        ctx.mark_non_differentiable(means, variances)
        return y, means, variances

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        by_x, by_weight, by_bias, _ = norm_kernels.normalise_backward.call(
            gradient.movedim(2, -1).contiguous(), *ctx.saved_tensors, *ctx.settings
        )
        return by_x.movedim(-1, 2), by_weight, by_bias, None, None, None


@contextmanager
def cumulative_averages() -> Iterator[None]:
    """While it is entered, batch normalisation with ``momentum=None`` reads no number from its count."""
    kinds = nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d
    forward = nn.BatchNorm1d.forward

    def cumulative(self: Any, input: Tensor) -> Tensor:
        if self.momentum is not None or not (self.training and self.track_running_stats):
            return forward(self, input)
        dims = [0, *range(2, input.dim())]
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            for running, own in ((self.running_mean, input.mean(dims)), (self.running_var, input.var(dims))):
                running.add_((own - running) / self.num_batches_tracked)
        return F.batch_norm(input, None, None, self.weight, self.bias, True, 0.0, self.eps)

    for kind in kinds:
        kind.forward = cumulative  # type: ignore[method-assign]
    try:
        yield
    finally:
        for kind in kinds:
            del kind.forward
