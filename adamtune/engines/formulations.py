"""How a population computes what ``vmap`` alone would compute slowly.

Each formulation replaces one function of torch while a model runs under ``vmap``, for every model
that calls it, and equals it up to rounding. Images keep their channels last in memory, whatever
their shape says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

Pair = tuple[int, int]


class Formulations(TorchFunctionMode):
    """While it is entered, torch functions that have a formulation use it. For use under ``vmap`` alone."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return FORMULATIONS.get(func, func)(*args, **(kwargs or {}))


class _Members(torch.autograd.Function):
    """Under ``vmap``, calls a function of all members at once: every tensor with members first.

    A tensor that the members share arrives expanded, with a stride of 0 over the members.
    """

    @staticmethod
    def forward(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        """Tensors that no member has of its own: they have no gradient either."""
        return function(*(each.unsqueeze(0) for each in tensors)).squeeze(0)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept: there is no backward pass."""

    @staticmethod
    def vmap(info: Any, dims: Any, function: Callable[..., Tensor], *tensors: Tensor) -> tuple[Tensor, int]:
        """Moves the members to the front and calls the function."""
        leading = [
            tensor.expand(info.batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
            for dim, tensor in zip(dims[1:], tensors, strict=True)
        ]
        return function(*leading), 0


def _bind(function: type[torch.autograd.Function], *settings: Any) -> Callable[..., Tensor]:
    return lambda *tensors: function.apply(*tensors, *settings)


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``input [..., in]`` times ``weight [out, in]``: one matrix product a member, whatever leads."""
    product: Tensor = _Members.apply(_MembersLinear.apply, input.reshape(-1, input.shape[-1]), weight)
    if bias is not None:
        product = product + bias
    return product.view(*input.shape[:-1], weight.shape[0])


class _MembersLinear(torch.autograd.Function):
    """``x [members, rows, in]``, ``weight [members, out, in]``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.bmm(x, weight.transpose(1, 2))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor]:
        x, weight = ctx.saved_tensors
        by_x = torch.bmm(gradient, weight) if ctx.needs_input_grad[0] else None
        # Transposed on the left, so that the result lies in memory as the weight does.
        return by_x, torch.bmm(gradient.transpose(1, 2), x)


def layer_norm(
    input: Tensor,
    normalized_shape: list[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """Layer normalisation over the last dimension, in passes that stay in cache."""
    if len(normalized_shape) != 1:
        return torch.layer_norm(input, normalized_shape, weight, bias, eps, cudnn_enable)
    normal: Tensor = _Members.apply(_bind(_MembersNormalise, eps), input)
    scaled = normal if weight is None else normal * weight
    return scaled if bias is None else scaled + bias


class _MembersNormalise(torch.autograd.Function):
    """``x [members, ..., width]`` to mean 0 and variance 1 over the width."""

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
        along = (gradient * normal).mean(-1, keepdim=True)
        centred = gradient - gradient.mean(-1, keepdim=True)
        return centred.addcmul_(normal, along, value=-1).mul_(scale), None


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
    if not plain or input.dim() != 2 or target.dim() != 1:
        return F.cross_entropy(
            input, target, weight, size_average, ignore_index, reduce, reduction, label_smoothing
        )
    counted = target != ignore_index
    share = counted.to(input.dtype) / counted.sum()
    loss: Tensor = _Members.apply(_MembersCrossEntropy.apply, input, target * counted, share)
    return loss


class _MembersCrossEntropy(torch.autograd.Function):
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


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **options: Any,
) -> Tensor:
    """Attention as batched matrix products: the fused CPU kernel has no batching rule."""
    if attn_mask is not None or dropout_p or any(options.values()):
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=attn_mask, dropout_p=dropout_p, is_causal=is_causal, **options
        )
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    if is_causal:
        future = torch.full(scores.shape[-2:], -torch.inf, dtype=scores.dtype, device=scores.device).triu(1)
        scores = scores + future
    return torch.softmax(scores, -1) @ value


def convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Pair = 1,
    padding: str | int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Tensor:
    """A two-dimensional convolution as one matrix product of image patches and kernels.

    Strided, dilated and grouped convolutions are left to torch.
    """
    plain = _pair(stride) == (1, 1) and _pair(dilation) == (1, 1) and groups == 1 and input.dim() == 4
    if (
        not plain
        or isinstance(padding, str)
        or any(p >= k for p, k in zip(_pair(padding), weight.shape[2:], strict=True))
    ):
        return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)
    out: Tensor = _Members.apply(_bind(_MembersConvolution, _pair(padding)), input, weight)
    return out if bias is None else out + bias[:, None, None]


def _pair(value: int | Pair | Any) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


class _MembersConvolution(torch.autograd.Function):
    """``x [members, batch, in, height, width]``, ``weight [members, out, in, rows, columns]``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, padding: Pair) -> Tensor:
        members, out, _, rows, columns = weight.shape
        if x.stride(0) == 0:
            patches = _patches(x[0], rows, columns, padding).expand(members, *[-1] * 5)
        else:
            patches = _patches(x, rows, columns, padding)
        kernel = weight.permute(0, 3, 4, 2, 1).reshape(members, -1, out)
        ctx.save_for_backward(patches, weight)
        ctx.padding = padding
        product = torch.bmm(patches.flatten(4).flatten(1, 3), kernel)
        by_pixel: Tensor = product.unflatten(1, patches.shape[1:4])
        return by_pixel.permute(0, 1, 4, 2, 3)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None]:
        patches, weight = ctx.saved_tensors
        members, out, inner, rows, columns = weight.shape
        by_pixel = gradient.permute(0, 1, 3, 4, 2).reshape(members, -1, out)
        by_weight = torch.bmm(by_pixel.transpose(1, 2), patches.flatten(4).flatten(1, 3))
        by_x = None
        if ctx.needs_input_grad[0]:
            # The gradient of x is the convolution of the output's gradient with the mirrored kernel.
            mirrored = weight.flip(3, 4).permute(0, 3, 4, 1, 2).reshape(members, -1, inner)
            margin = (rows - 1 - ctx.padding[0], columns - 1 - ctx.padding[1])
            windows = _patches(gradient, rows, columns, margin)
            product = torch.bmm(windows.flatten(4).flatten(1, 3), mirrored)
            by_x = product.unflatten(1, windows.shape[1:4]).permute(0, 1, 4, 2, 3)
        return by_x, by_weight.view(members, out, rows, columns, inner).permute(0, 1, 4, 2, 3), None


def _patches(x: Tensor, rows: int, columns: int, padding: Pair) -> Tensor:
    """``x [..., batch, channels, height, width]`` to what each output pixel sees of it.

    Returns:
        contiguous ``[..., batch, height, width, rows, columns * channels]``, for the output's height
        and width.
    """
    down, across = padding
    padded = F.pad(x.movedim(-3, -1), (0, 0, across, across, down, down)).contiguous()
    *lead, height, width, channels = padded.shape
    *steps, by_row, by_column, _ = padded.stride()
    # A row of a window and its channels lie side by side in memory: one dimension, so one fast copy.
    windows = padded.as_strided(
        (*lead, height - rows + 1, width - columns + 1, rows, columns * channels),
        (*steps, by_row, by_column, by_row, 1),
    )
    return windows.contiguous()


FORMULATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    F.linear: linear,
    F.scaled_dot_product_attention: attention,
    torch.layer_norm: layer_norm,
    F.layer_norm: layer_norm,
    F.cross_entropy: cross_entropy,
    torch.conv2d: convolution,
}
