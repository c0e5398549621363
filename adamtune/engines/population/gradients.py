"""A task's loss, gradients, buffers and metrics for many members at once, as captures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from adamtune.engines.base import Source
from adamtune.engines.batching.custom import custom_functions
from adamtune.engines.batching.mode import BatchingRules
from adamtune.engines.batching.norm import cumulative_averages
from adamtune.engines.batching.observed import READ, Guards
from adamtune.engines.batching.selection import MASK
from adamtune.engines.eager import eager
from adamtune.engines.population.capture import CannotCapture, Capture
from adamtune.engines.population.draws import GLOBAL_STATE, Draws
from adamtune.engines.torch_private import capturable, compiling, storage_id
from adamtune.errors import memory_error, origin
from adamtune.tasks.base import Rows
from adamtune.tasks.pytree import map_rows

Tensors = Mapping[str, Tensor]
"""Parameters or buffers of all members by name, each ``[members, *shape]``."""


@dataclass(frozen=True)
class Method:
    """How a task is computed for many members at once.

    Attributes:
        rules: whether layers are computed by the batching rules; otherwise by ``vmap`` alone.
        own_batches: whether each member needs a batch of its own, even where all batches are equal, and its
            own of the tensors that the model makes, because it changes them in place.
        compiling: whether the model is told that it is compiled, so that it reads no values.
        captured_metrics: whether metrics are captured; otherwise they are computed for each member in turn.
        decisions: what a step decides by values, each time alike; None if it may decide nothing by them.
        kept: attributes of modules that hold what steps keep and nobody reads.
    """

    rules: bool = True
    own_batches: bool = False
    captured_metrics: bool = True
    compiling: bool = False
    decisions: tuple[int, ...] | None = None
    kept: frozenset[str] = frozenset()


class _Loss(nn.Module):
    """A model inside a module whose forward pass is a function of it: the function sees the model itself."""

    def __init__(self, model: nn.Module, function: Callable[[nn.Module, Rows], Any]) -> None:
        super().__init__()
        self.model, self.function = model, function

    def forward(self, rows: Rows) -> Any:
        return self.function(self.model, rows)


class BatchedTask:
    """A task computed for many members at once, by one method.

    Args:
        source: the task, its data and its models.
        method: how it is computed.

    Attributes:
        module: a model, whose weights are never used.
        decisions: what a step has decided by values, in turn, once it was captured.
    """

    def __init__(self, source: Source, method: Method = Method()) -> None:
        self.source, self.method = source, method
        self.decisions = list(method.decisions or ())
        self.module = source.module(0, 0)
        # Its weights keep their shapes, without memory of their own.
        for each in self.module.parameters():
            each.data = each.data.new_zeros(()).expand(each.shape)

    def trained(self) -> list[str]:
        """The names of the parameters that are not frozen, in the model's order."""
        return [name for name, each in self.module.named_parameters() if each.requires_grad]

    def gradients(
        self,
        parameters: Tensors,
        kept: Tensors,
        batch: Rows,
        shared: bool,
        draws: Draws,
        scale: Tensor | None = None,
    ) -> Capture:
        """A capture of ``(losses [members], gradients by name [members, *shape])``.

        A parameter that the loss does not depend on has no gradient, as in torch. If the method has
        decisions, there is a third output: whether a member decides otherwise, bool ``[members]``. Its loss
        and gradients mean nothing then.

        Args:
            parameters: tensors that hold the trained parameters at each replay.
            kept: tensors that hold the buffers and the frozen parameters; each replay changes the buffers in
                place, as the model does.
            batch: tensors that hold the batch at each replay, ``[batch, ...]`` if ``shared``, else
                ``[members, batch, ...]``.
            shared: whether all members train on the same batch.
            draws: makes the random draws of the members.
            scale: a tensor that holds a factor on each member's gradients at each replay, ``[members]``.

        Raises:
            CannotCapture: the model cannot be trained in lockstep; the message says why.
        """
        before = {name: each.clone() for name, each in kept.items()}
        scales = () if scale is None else (scale,)

        def compute(parameters: Tensors, kept: Tensors, batch: Rows, *scale: Tensor) -> tuple[Any, ...]:
            leaves = {name: each.detach().requires_grad_() for name, each in parameters.items()}
            rows = batch
            if shared and self.method.own_batches:
                rows = map_rows(lambda each: each.expand(len(draws), *each.shape).clone(), batch)
            apart = self.method.own_batches or not shared
            dim = 0 if apart else None
            losses, after, failed = self._run(self.source.task.loss, leaves, kept, rows, dim, draws)
            for name, value in after.items():
                if storage_id(value) != storage_id(kept[name]):
                    kept[name].copy_(value)  # the model replaced the buffer instead of changing it
            losses = scaled = one_loss(losses, len(draws))
            for each in scale:
                scaled = (losses * each).to(losses.dtype)  # the scaled loss overflows as in torch
            losses = losses.to(self.source.dtype)
            # No loss depends on another member's parameters, so the gradient of the sum is each member's own.
            found = torch.autograd.grad(scaled.sum(), list(leaves.values()), allow_unused=True)
            # The elementwise pass needs each gradient laid out as its parameters are.
            own = zip(leaves, found, strict=True)
            gradients = {name: each.contiguous() for name, each in own if each is not None}
            return (losses, gradients) if self.method.decisions is None else (losses, gradients, failed)

        try:
            return self._capture(compute, parameters, kept, batch, *scales, draws=draws)
        finally:
            with torch.no_grad():
                for name, value in before.items():
                    kept[name].copy_(value)

    def metrics(self, parameters: Tensors, kept: Tensors, rows: Rows) -> Capture:
        """A capture of the task's metrics over ``rows``, by name, each ``[members]``.

        Raises:
            CannotCapture: they cannot be computed for all members at once; the message says why.
        """
        members = len(next(iter(parameters.values())))
        draws = Draws(members, self.source.device)  # unseeded: metrics that draw are not captured
        scores = self.source.task.scores

        @torch.no_grad()
        def compute(parameters: Tensors, kept: Tensors) -> dict[str, Tensor]:
            found, *_ = self._run(scores, parameters, kept, rows, None, draws, training=False)
            return {name: one_loss(value, members) for name, value in found.items()}

        return self._capture(compute, parameters, kept)

    def _run(
        self,
        function: Callable[[nn.Module, Rows], Any],
        parameters: Tensors,
        kept: Tensors,
        rows: Rows,
        rows_dim: int | None,
        draws: Draws,
        training: bool = True,
    ) -> tuple[Any, dict[str, Tensor], Tensor]:
        """What the function returns for each member, its buffers then, and whether it decides otherwise."""
        called = _Loss(self.module.train(training), function)

        def of_member(own: Tensors, fixed: Tensors, rows: Rows, anchor: Tensor) -> Any:
            state = {f"model.{name}": each for name, each in {**own, **fixed}.items()}
            told = compiling() if self.method.compiling else nullcontext()
            guards = Guards(anchor, self.decisions)
            decides = training and self.method.decisions is not None
            rules = BatchingRules(
                anchor, self.method.rules, self.method.own_batches, guards if decides else None
            )
            with custom_functions(rules.own), rules, told:
                result = functional_call(called, state, (rows,))
            # functional_call leaves in ``state`` what the model has put in a buffer's place.
            return result, {name: state[f"model.{name}"] for name in fixed}, guards.failed

        anchor = torch.zeros(len(draws), device=self.source.device, dtype=self.source.dtype)
        dims = (0, 0, rows_dim, 0)
        return vmap(of_member, dims, randomness="different")(parameters, kept, rows, anchor)  # type: ignore[no-any-return]

    def _capture(self, compute: Callable[..., Any], *inputs: Any, draws: Draws | None = None) -> Capture:
        """The capture of a function. Raises CannotCapture with a message of one line."""
        # With MATH, torch's own modules compute attention by the function that has a batching rule. cuDNN's
        # kernels for recurrent layers want weights in one piece, and those for batch norm have no variants
        # that write into given tensors. A convolution chooses its kernel anew at each replay.
        with (
            torch.backends.cudnn.flags(enabled=False),
            GLOBAL_STATE,
            torch.random.fork_rng(devices=[]),
            torch.enable_grad(),
            sdpa_kernel(SDPBackend.MATH),
            capturable(),
            eager(),
            cumulative_averages(),
            one_line_errors(),
        ):
            return Capture(compute, *inputs, draws=draws)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Raises CannotCapture with a message of one line for any error but those of memory."""
    try:
        yield
    except Exception as error:
        if memory_error(error) is not None:
            raise  # the sequential engine would run out of memory, too
        place = origin(error)
        raise CannotCapture(f"{place}: {_reason(error)}" if place else _reason(error)) from error


BRANCH = "the control flow depends on a tensor's values; use torch.where or a mask"
_REASONS = {
    "data-dependent control flow": BRANCH,
    "vmap over torch.": BRANCH,
    "data pointer of Tensor that doesn't have storage": "NumPy reads a tensor (.numpy()); compute with torch",
    "register a hook on a tensor": "a hook on a tensor (register_hook) has no rule for many members; use an"
    " autograd.Function",
    "provide an explicit positive num_classes": f"{READ}, and give one_hot num_classes",
    ".item()": READ,
    "Batching rule not implemented for": "{} has no rule for many members at once",
    "vmap: we do not yet support ": "{} has no rule for many members at once",
    "stack expects each tensor to be equal size": "the size of a tensor depends on the data, as that of a"
    " packed sequence does; use padding, and a mask or the result at the last step",
    "dynamic shape": MASK,
}
"""What ``vmap`` says, and what it means to the author of the model."""


def _reason(error: Exception) -> str:
    """The error in one line."""
    line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    for words, meaning in _REASONS.items():
        if words in line:
            return meaning.format(line.partition(words)[2].split(".")[0].strip())
    return line


def one_loss(losses: Any, members: int) -> Tensor:
    """The losses or metrics ``[members]``, checked: one real number for each member.

    Raises:
        CannotCapture: they have another shape or are no real numbers.
    """
    if not isinstance(losses, Tensor) or losses.shape != (members,) or losses.is_complex():
        shape = tuple(losses.shape[1:]) if isinstance(losses, Tensor) else type(losses).__name__
        raise CannotCapture(f"a loss or metric is {shape} in lockstep, where one real number is expected")
    return losses
