"""Batching rule of ``torch.autograd.Function``, for classes that have no ``vmap`` of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from adamtune.engines.batching.members import for_members
from adamtune.engines.torch_private import is_batched, is_differentiated


@contextmanager
def custom_functions(own_tensor: Callable[[Any], Any] = lambda each: each) -> Iterator[None]:
    """While it is entered, any ``Function`` can be applied under ``vmap``.

    Args:
        own_tensor: gives each member its own of a tensor that members share, and returns other values.
    """
    own = vars(Function)["apply"]

    def apply(kind: type[Function], *args: Any, **kwargs: Any) -> Any:
        if kind.__module__ == torch.distributions.dirichlet.__name__:
            args = tuple(map(own_tensor, args))  # it draws, and members draw different numbers
        tensors = [each for each in args if isinstance(each, Tensor)]
        simple = any(map(is_batched, tensors)) and not any(map(is_differentiated, tensors)) and not kwargs
        if not simple or kind.generate_vmap_rule or kind.vmap is not Function.vmap:
            return own.__get__(None, kind)(*args, **kwargs)
        return for_members(lambda *given: _Members.apply(kind, args, *given), *tensors)

    Function.apply = classmethod(apply)  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        Function.apply = own  # type: ignore[method-assign]


class _Context:
    """What a function gets as ``ctx``: it keeps tensors and other values for the backward pass.

    Attributes:
        saved_tensors: the tensors kept by ``save_for_backward``; None where None was kept.
        needs_input_grad: whether each argument needs a gradient.
    """

    def __init__(self, needs_input_grad: Sequence[bool]) -> None:
        self.saved_tensors: tuple[Tensor | None, ...] = ()
        self.needs_input_grad = tuple(needs_input_grad)
        self.constant: tuple[Tensor, ...] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        self.saved_tensors = tensors

    def mark_non_differentiable(self, *results: Tensor) -> None:
        self.constant = results

    def set_materialize_grads(self, value: bool) -> None:
        if not value:
            raise RuntimeError("a function that wants no gradients of zeros has no rule for many members")

    def mark_dirty(self, *_: Tensor) -> None:
        raise RuntimeError("a function that changes its arguments has no rule for many members")

    def replaced(self, tensors: Callable[[Tensor], Any]) -> dict[str, Any]:
        """Its attributes with something else in place of each tensor."""
        return {
            name: tuple(tensors(each) if isinstance(each, Tensor) else each for each in value)
            if isinstance(value, tuple)
            else tensors(value)
            if isinstance(value, Tensor)
            else value
            for name, value in vars(self).items()
        }


class _Members(Function):
    """A function of all members, ``[members, ...]`` each: ``vmap`` of its forward, and of its backward pass.

    ``args`` are the arguments of one member, of which the tensors are replaced.
    """

    @staticmethod
    def forward(ctx: Any, kind: Any, args: Sequence[Any], *tensors: Tensor) -> Any:
        places = [index for index, each in enumerate(args) if isinstance(each, Tensor)]
        needs = [False] * len(args)
        for place, needed in zip(places, ctx.needs_input_grad[2:], strict=True):
            needs[place] = needed
        own, single = _Context(needs), False

        def of_member(*given: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
            nonlocal single
            values = list(args)
            for place, tensor in zip(places, given, strict=True):
                values[place] = tensor
            if kind.setup_context is Function.setup_context:
                found = kind.forward(own, *values)
            else:
                found = kind.forward(*values)
                kind.setup_context(own, tuple(values), found)
            single = isinstance(found, Tensor)
            results = (found,) if single else tuple(found)
            constant.extend(any(each is other for other in own.constant) for each in results)
            own.constant = ()
            kept: list[Tensor] = []
            own.replaced(kept.append)
            return results, tuple(kept)

        constant: list[bool] = []
        results, kept = torch.vmap(of_member, randomness="different")(*tensors)
        ctx.save_for_backward(*kept)
        ctx.mark_non_differentiable(*(each for each, is_so in zip(results, constant, strict=True) if is_so))
        ctx.of = kind, own, places
        return results[0] if single else results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        kind, own, places = ctx.of
        needed = [place for place in places if own.needs_input_grad[place]]
        found_at: list[int] = []

        def of_member(kept: Sequence[Tensor], by_results: Sequence[Tensor]) -> tuple[Any, ...]:
            context = _Context(own.needs_input_grad)
            waiting = iter(kept)
            vars(context).update(own.replaced(lambda _: next(waiting)))
            found = kind.backward(context, *by_results)
            found = (found,) if isinstance(found, Tensor) or found is None else found
            found_at.extend(place for place in needed if found[place] is not None)
            return tuple(found[place] for place in found_at)

        found = torch.vmap(of_member, randomness="different")(ctx.saved_tensors, gradients)
        by_place = dict(zip(found_at, found, strict=True))
        return None, None, *(by_place.get(place) for place in places)
