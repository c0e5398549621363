"""The names of torch that are not part of its public interface, each under a public name of ours.

Only this file may use torch's private names. Each entry says what it is for and what fails without it;
``tests/engines/test_torch_private.py`` tests each of them, so that a new version of torch that lacks one or
gives it another meaning fails there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from inspect import unwrap
from typing import Any, cast

import torch
import torch.utils.checkpoint
from torch import Tensor, nn
from torch._C._functorch import (
    _add_batch_dim,
    get_inplace_requires_grad_allowed,
    get_unwrapped,
    is_batchedtensor,
    is_functorch_wrapped_tensor,
    is_gradtrackingtensor,
    maybe_get_bdim,
    maybe_get_level,
    set_inplace_requires_grad_allowed,
)
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only

__all__ = [
    "COMPUTED_VIEWS",
    "ERROR_CHECK",
    "REFUSES_NAN",
    "DispatchMode",
    "OpOverload",
    "arguments",
    "capturable",
    "change_counts",
    "compiling",
    "is_batched",
    "is_differentiated",
    "is_mutable",
    "operator_name",
    "overload_name",
    "overloads",
    "require_gradient",
    "return_types",
    "storage_id",
    "tensor_places",
    "tree_leaves",
    "tree_map",
    "tree_map_only",
    "uncompiled",
    "unhooked_step",
    "unwrapped",
    "wrapped_like",
]

# OpOverload: the type of one overload of an operator, such as ``torch.ops.aten.add.Tensor``. A capture is a
# list of calls of such overloads; without the type, no call can be read.

# tree_leaves, tree_map, tree_map_only: visit the tensors in nested tuples, lists and dicts, as models and
# kernels pass them. Without them, arguments and results of captures, and optimizer states, cannot be walked.


COMPUTED_VIEWS = {
    torch.ops.aten._conj.default: torch.ops.aten._conj_physical.default,
    torch.ops.aten._neg_view.default: torch.ops.aten.neg.default,
}
"""The kernels that compute what a view of a tensor's conjugate or negative stands for.

Such a view is a mark on a tensor that the memory of a capture does not have. Without these, no model with
complex numbers could be captured.
"""


ERROR_CHECK = torch.ops.aten._linalg_check_errors.default
"""The kernel that raises an error where a code of ``torch.linalg``'s factorizations is not 0.

Without it, a factorization that fails for one member could not be told from others in a capture.
"""

REFUSES_NAN = {torch.ops.aten._linalg_eigh, torch.ops.aten._linalg_svd, torch.ops.aten.linalg_eig}
"""The kernels of factorizations that raise an error for a matrix with NaN: in a replay, for all members."""


class DispatchMode(TorchDispatchMode):
    """A mode whose ``__torch_dispatch__`` receives every kernel call below autograd and ``vmap``.

    Captures are recorded with it; without it there is no list of the kernels that a step calls.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # True would have torch wrap ``__torch_dispatch__`` with ``torch._dynamo``, which it imports for that:
        # a second, for something that is not used.
        return False


def arguments(kernel: OpOverload) -> Sequence[Any]:
    """The formal arguments of an overload, in order.

    Each has ``name``, ``type``, ``is_write``, ``is_out``, ``has_default_value()`` and ``default_value``, and
    ``real_type``, which tells dtypes, layouts and memory formats from whole numbers. Without them, the values
    of a recorded call cannot be matched with the names of its arguments, the overload that writes into given
    tensors cannot be found, and the C interface cannot be given the arguments.
    """
    return cast(Sequence[Any], kernel._schema.arguments)


def return_types(kernel: OpOverload) -> list[Any]:
    """The types of what an overload returns. Without them, a replay could not free what calls return."""
    return [each.real_type for each in kernel._schema.returns]


def is_mutable(kernel: OpOverload) -> bool:
    """Whether an overload writes to one of its arguments.

    Without it, a capture would drop or reorder calls that change tensors in place.
    """
    return bool(kernel._schema.is_mutable)


def operator_name(kernel: OpOverload) -> str:
    """An operator's name without namespace and overload: "add" for ``torch.ops.aten.add.Tensor``."""
    return str(kernel.overloadpacket.__name__)


def overload_name(kernel: OpOverload) -> str:
    """An overload's own name: "Tensor" for ``torch.ops.aten.add.Tensor``, "out" for the one that writes.

    Without it, calls of this package's kernels cannot be told from calls of torch's.
    """
    return str(kernel._overloadname)


def overloads(kernel: OpOverload) -> list[OpOverload]:
    """All overloads of an overload's operator.

    The one that writes into given tensors is among them; without it, each replay would allocate its results.
    """
    packet = kernel.overloadpacket
    return [getattr(packet, name) for name in packet.overloads()]


def storage_id(tensor: Tensor) -> int:
    """A number that tensors have in common if, and only if, they are views of one storage.

    Without it, a capture cannot tell which calls read what another call wrote. The address of the memory does
    not do: storages without elements share it.
    """
    return int(tensor.untyped_storage()._cdata)


def tensor_places(module: nn.Module) -> list[tuple[dict[str, Any], str, Tensor]]:
    """Each parameter and buffer of each of a model's modules: the dict that holds it, its name there, and it.

    Without it, they would be looked up by names that are put together first, which takes as long as a small
    layer.
    """
    return [
        (own, name, tensor)
        for each in module.modules()
        for own in (each._parameters, each._buffers)
        for name, tensor in own.items()
        if tensor is not None
    ]


def change_counts(*tensors: Tensor) -> tuple[int, ...]:
    """How often each tensor was changed in place so far.

    Without it, a layer could not tell whether its inputs are still those that its result was computed from.
    """
    return tuple(unwrapped(each)._version for each in tensors)


def is_batched(tensor: Tensor) -> bool:
    """Whether ``vmap`` has a tensor of its own for each member behind this one.

    Without it, random draws into a tensor that all members share could not be told from others.
    """
    return bool(is_batchedtensor(tensor))


def is_differentiated(tensor: Tensor) -> bool:
    """Whether ``torch.func.grad`` differentiates by this tensor.

    Without it, what that function does itself could not be told from what a model does under ``vmap``.
    """
    return bool(is_gradtrackingtensor(tensor))


def require_gradient(tensor: Tensor, wanted: bool) -> None:
    """``tensor.requires_grad_(wanted)`` while a function runs under ``vmap``, which refuses that.

    Without it, no model could take a gradient with respect to its input in lockstep.
    """
    allowed = get_inplace_requires_grad_allowed()
    set_inplace_requires_grad_allowed(True)
    try:
        tensor.requires_grad_(wanted)
    finally:
        set_inplace_requires_grad_allowed(allowed)


@contextmanager
def capturable() -> Iterator[None]:
    """While it is entered, torch's own Python code leaves out checks, savings of memory, and a warning.

    Distributions do not check their arguments, for which they read values. Checkpointed functions are called
    like others, because a capture keeps what the backward pass needs. Without it, models with
    ``torch.distributions`` or ``torch.utils.checkpoint`` could not be captured.
    """

    def begin_and_end(*_: Any, **__: Any) -> Iterator[None]:
        yield

    class Called:
        @staticmethod
        def apply(function: Any, preserve: bool, *args: Any) -> Any:
            return function(*args)

    distributions, functorch = torch.distributions.Distribution, cast(Any, torch._C._functorch)
    checkpoints = cast(Any, torch.utils.checkpoint)
    before = distributions._validate_args
    own = checkpoints._checkpoint_without_reentrant_generator, checkpoints.CheckpointFunction
    distributions.set_default_validate_args(False)
    functorch._set_vmap_fallback_warning_enabled(False)  # it asks for an issue of torch's
    checkpoints._checkpoint_without_reentrant_generator = begin_and_end
    checkpoints.CheckpointFunction = Called
    try:
        yield
    finally:
        distributions.set_default_validate_args(before)
        functorch._set_vmap_fallback_warning_enabled(True)
        checkpoints._checkpoint_without_reentrant_generator, checkpoints.CheckpointFunction = own


@contextmanager
def compiling() -> Iterator[None]:
    """While it is entered, ``torch.compiler.is_compiling()`` is true.

    Libraries look at it before they read values of a tensor in order to take a shortcut: a capture must have
    the way without shortcuts. Without it, models of ``transformers`` with a mask could not be captured.
    """
    before = torch.compiler._is_compiling_flag
    torch.compiler._is_compiling_flag = True
    try:
        yield
    finally:
        torch.compiler._is_compiling_flag = before


def uncompiled(module: nn.Module) -> nn.Module:
    """The module that ``torch.compile`` was called with, or the module itself.

    Without it, a compiled model would be compiled again for each member.
    """
    return cast(nn.Module, getattr(module, "_orig_mod", module))


def unhooked_step(optimizer: torch.optim.Optimizer) -> Callable[[], Any]:
    """The step of an optimizer without its hooks and its line in a profile; gradients have to be off.

    Without it, a step of a small model takes a twentieth longer.
    """
    return partial(unwrap(type(optimizer).step), optimizer)


def unwrapped(tensor: Tensor) -> Tensor:
    """The tensor of all members behind the one that ``vmap`` hands to a function.

    Without it, no gradient could be taken inside of a function under ``vmap``, which refuses that.
    """
    while is_functorch_wrapped_tensor(tensor):
        tensor = get_unwrapped(tensor)
    return tensor


def wrapped_like(tensor: Tensor, other: Tensor) -> Tensor:
    """A tensor of all members as ``vmap`` hands it to a function; ``other`` says where the members are.

    Without it, the gradients that a model takes itself could not be given to it.
    """
    return _add_batch_dim(tensor, maybe_get_bdim(other), maybe_get_level(other))
