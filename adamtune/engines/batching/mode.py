"""The functions of torch that have a batching rule, and the mode under which they use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from adamtune.engines.batching.activation import gelu, relu
from adamtune.engines.batching.attention import attention, unbind
from adamtune.engines.batching.autocast import autocast_arguments
from adamtune.engines.batching.dropout import dropout, rrelu
from adamtune.engines.batching.image import adaptive_average_pool, convolution, max_pool
from adamtune.engines.batching.linear import addmm, embedding, linear
from adamtune.engines.batching.losses import cross_entropy, gaussian_nll_loss, mse_loss
from adamtune.engines.batching.norm import batch_norm, group_norm, layer_norm
from adamtune.engines.batching.observed import READERS, Guards, as_tensors
from adamtune.engines.batching.recurrent import recurrent_rules
from adamtune.engines.batching.selection import Selection, assign, masked_select, of_selections, select
from adamtune.engines.torch_private import (
    is_batched,
    is_differentiated,
    require_gradient,
    tree_leaves,
    unwrapped,
    wrapped_like,
)

# Modules and functionals reach one operation by several names, and torch looks each of them up by itself.
RULES: dict[Callable[..., Any], Callable[..., Any]] = {
    F.linear: linear,
    torch.addmm: addmm,
    F.scaled_dot_product_attention: attention,
    torch.layer_norm: layer_norm,
    F.layer_norm: layer_norm,
    F.batch_norm: batch_norm,
    F.group_norm: group_norm,
    F.cross_entropy: cross_entropy,
    F.mse_loss: mse_loss,
    F.embedding: embedding,
    torch.conv2d: convolution,
    torch.max_pool2d: max_pool,
    F.max_pool2d: max_pool,
    F.adaptive_avg_pool2d: adaptive_average_pool,
    torch.unbind: unbind,
    torch.Tensor.unbind: unbind,
    F.relu: relu,
    torch.relu: relu,
    torch.Tensor.relu: relu,
    F.gelu: gelu,
    **recurrent_rules(rules=True),
}
"""The batching rule of each function; a rule takes the arguments of the function that it replaces."""


_IN_PLACE = (
    "bernoulli_",
    "cauchy_",
    "exponential_",
    "geometric_",
    "log_normal_",
    "normal_",
    "random_",
    "uniform_",
)
DRAWS = {getattr(torch.Tensor, name) for name in _IN_PLACE}
DRAWS |= {torch.bernoulli, torch.normal, torch.multinomial, torch.poisson}
"""Functions that draw random numbers into a tensor or for its values."""


NEW = {torch.zeros, torch.ones, torch.full, torch.empty, torch.eye, torch.Tensor.clone, torch.clone}
"""Functions whose results a model may change in place, which ``vmap`` refuses where members share them."""


class BatchingRules(TorchFunctionMode):
    """While it is entered, torch functions that have a batching rule use it. For use under ``vmap`` alone.

    Where torch's ``vmap`` refuses what a training step may do, it does that for all members: it draws into
    tensors that members share, writes into ``out``, and takes gradients with respect to inputs.

    Args:
        anchor: any tensor of which each member has its own, in the precision of the training; without it,
            there are the batching rules alone.
        rules: whether layers are computed by batching rules.
        own_tensors: whether each member has its own of the tensors that the model makes, such as zeros.
        guards: the decisions by values; None if there may be none.
    """

    def __init__(
        self,
        anchor: Tensor | None = None,
        rules: bool = True,
        own_tensors: bool = False,
        guards: Guards | None = None,
    ) -> None:
        super().__init__()
        self._anchor, self._own_tensors = anchor, own_tensors
        self._functions = ({} if anchor is None else STEPS) | (RULES if rules else {})
        self._functions |= {} if guards is None else guards.readers
        self._device = "cpu" if anchor is None else anchor.device.type
        self._double = anchor is not None and anchor.dtype == torch.float64

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        selects = any(isinstance(each, Selection) for each in tree_leaves((args, kwargs)))
        if selects and func is not torch.Tensor.__setitem__:
            return of_selections(func, args, kwargs)
        args, kwargs = as_tensors(args, kwargs)
        if self._anchor is not None and func in DRAWS:
            # Members draw different numbers, so each needs a tensor of its own.
            args = (self.own(args[0]), *args[1:])
        out = kwargs.pop("out", None)
        args, kwargs = autocast_arguments(func, self._device, (args, kwargs))
        # The rules call torch's functions themselves: within this method, torch has the mode switched off.
        function = self._functions.get(func, func)
        if self._double and func in RULES and _in_float32(args):
            function = STEPS.get(func, func)  # what a rule rounds differently would be far off in float64
        found = function(*args, **kwargs)
        if self._own_tensors and func in NEW:
            found = self.own(found)
        return found if out is None else out.copy_(found)

    def own(self, value: Any) -> Any:
        """A tensor of each member's own where members share it; other values as they are."""
        if self._anchor is None or not isinstance(value, Tensor) or is_batched(value):
            return value
        return torch.where(torch.eq(self._anchor, 0), value, value)


def _in_float32(args: tuple[Any, ...]) -> bool:
    return any(isinstance(each, Tensor) and each.dtype == torch.float32 for each in args)


def _require_gradient(tensor: Tensor, wanted: bool = True) -> Tensor:
    """``tensor.requires_grad_()`` of all members' tensors, which ``vmap`` does not let a function change."""
    if is_differentiated(tensor):
        return tensor.requires_grad_(wanted)  # by torch.func.grad, under vmap
    if not is_batched(tensor):
        raise RuntimeError("a gradient is wanted of a tensor that all members share")
    require_gradient(unwrapped(tensor), wanted)
    return tensor


def _member_gradients(
    outputs: Any, inputs: Any, grad_outputs: Any = None, *args: Any, **kwargs: Any
) -> tuple[Tensor | None, ...]:
    """``torch.autograd.grad`` of all members at once: no member's outputs depend on another one's inputs."""
    outputs, inputs = ([each] if isinstance(each, Tensor) else list(each) for each in (outputs, inputs))
    if any(map(is_differentiated, outputs)):
        own: tuple[Tensor | None, ...] = torch.autograd.grad(outputs, inputs, grad_outputs, *args, **kwargs)
        return own
    given = [grad_outputs] if isinstance(grad_outputs, Tensor) else grad_outputs
    ones = [torch.ones_like(unwrapped(each)) for each in outputs]
    if given is not None:
        # ``+ 0 * output`` gives each a dimension of members, at the place where the output has it.
        ones = [unwrapped(each + 0 * output.detach()) for each, output in zip(given, outputs, strict=True)]
    found = torch.autograd.grad(
        [unwrapped(each) for each in outputs], [unwrapped(each) for each in inputs], ones, *args, **kwargs
    )
    pairs = zip(found, inputs, strict=True)
    return tuple(None if each is None else wrapped_like(each, own) for each, own in pairs)


def _set_data(tensor: Tensor, value: Tensor) -> None:
    """``tensor.data = value``."""
    with torch.no_grad():
        tensor.copy_(value)


STEPS: dict[Callable[..., Any], Callable[..., Any]] = {
    **READERS,
    torch.Tensor.__getitem__: select,
    torch.Tensor.__setitem__: assign,
    torch.Tensor.masked_select: masked_select,
    torch.masked_select: masked_select,
    **recurrent_rules(rules=False),
    F.dropout: dropout,
    torch.dropout: dropout,
    F.rrelu: rrelu,
    F.embedding: embedding,
    F.gaussian_nll_loss: gaussian_nll_loss,
    torch.Tensor.data.__get__: torch.Tensor.detach,  # type: ignore[attr-defined]
    torch.Tensor.data.__set__: _set_data,  # type: ignore[attr-defined]
    torch.autograd.grad: _member_gradients,
    torch.Tensor.requires_grad_: _require_gradient,
    torch.Tensor.requires_grad.__set__: _require_gradient,  # type: ignore[attr-defined]
}
"""Functions that ``vmap`` refuses, or whose results it gets wrong, in a training step."""
