"""Finds a way to compute a task for many members at once that gives what a plain training gives.

``vmap``, the batching rules and captures have faults and limits that no list covers. So a method is trusted
only after a capture of it has been replayed on other weights and other batches of two replicates, and every
loss, gradient and buffer was that of the user's own module, called plainly in the same precision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from adamtune.engines.base import Source
from adamtune.engines.metrics import checked_loss, gradients_of
from adamtune.engines.population.attributes import changed_values, state_of
from adamtune.engines.population.capture import CannotCapture
from adamtune.engines.population.draws import Draws, Key
from adamtune.engines.population.gradients import BatchedTask, Method, one_line_errors
from adamtune.errors import memory_error
from adamtune.tasks.base import Rows
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.pytree import leaves, map_rows, take_rows
from adamtune.tasks.randomness import batch_indices, derive, seeded

TOLERANCE = 1e-4
"""The largest relative difference that is taken for rounding in float32. Wrong methods differ by far more."""
ROUNDING = 0.3
"""The same where rounding has changed the course of a step: the sign of a number that is nearly 0, say, or a
step in 16 bits. Such a method has to be right in float64, by ``TOLERANCE``."""

LARGE = 1_000_000
"""Models with more weights are compared on ``FEW`` rows of a batch: it takes seconds otherwise."""
FEW = 16

METHODS = (
    Method(),
    Method(rules=False),
    Method(compiling=True),
    Method(rules=False, compiling=True),
    Method(own_batches=True),
    Method(rules=False, own_batches=True),
)
"""The methods in the order in which they are tried: the fastest first."""


_FOUND: WeakKeyDictionary[LoadedTask, dict[tuple[torch.device, torch.dtype], Method | str]] = (
    WeakKeyDictionary()
)


def batched_task(source: Source) -> BatchedTask:
    """The task computed by the first method that is right; it is looked for once for each task.

    Raises:
        CannotCapture: none is; the message says why.
    """
    task = source.task.origin or source.task
    known, key = _FOUND.setdefault(task, {}), (source.device, source.dtype)
    if key not in known:
        try:
            known[key] = _find_method(source)
        except CannotCapture as error:
            known[key] = str(error)
    found = known[key]
    if isinstance(found, str):
        raise CannotCapture(found)
    return BatchedTask(source, found)


def _find_method(source: Source) -> Method:
    """The first method that is right.

    Raises:
        CannotCapture: none is; the message is that of ``vmap`` without batching rules.
    """
    _check_state(source)
    reasons = []
    for method in METHODS:
        task = BatchedTask(source, method)
        try:
            for shared in (False, True):
                _check_method(task, shared)
        except CannotCapture as error:
            # Without the traceback, which would keep all tensors of the computation.
            reasons.append(CannotCapture(str(error)))
            continue
        return replace(method, captured_metrics=_captures_metrics(task))
    # Without rules, the message is about the user's code and not about a rule.
    raise reasons[1]


MEASURED = 4
"""Members whose working set is measured together, because they share a layer's scratch memory."""


def working_set(task: LoadedTask) -> int:
    """The working set of one member's step in bytes: what the step writes to, on the CPU.

    Raises:
        CannotCapture: the model cannot be trained in lockstep; the message says why.
    """
    source = Source(task, torch.device("cpu"))
    own = batched_task(source)
    plain = _Plain(source, 0)
    parameters, kept = (_stacked([plain.tensors(trained)] * MEASURED) for trained in (True, False))
    batch = map_rows(torch.clone, plain.batch(0))
    return own.gradients(parameters, kept, batch, True, Draws(MEASURED, source.device)).memory // MEASURED


class _Plain:
    """A replicate's own module: what it computes at a step, the plain way."""

    def __init__(self, source: Source, replicate: int) -> None:
        self.source, self.replicate = source, replicate
        self.module = source.module(0, replicate)

    def batch(self, step: int) -> Rows:
        """The batch of the update after ``step`` steps."""
        index = batch_indices(self.source.task, 0, self.replicate, step, step + 1)[0]
        large = sum(each.numel() for each in self.module.parameters()) > LARGE
        return take_rows(self.source.train, index[: FEW if large else None].to(self.source.device))

    def step(self, step: int, batch: Rows) -> tuple[Tensor, dict[str, Tensor | None]]:
        """The loss and each trained parameter's gradient; changes the buffers."""
        trained = {name: each for name, each in self.module.named_parameters() if each.requires_grad}
        seed = derive(0, "step", self.replicate, step)
        # As a capture computes it: other kernels for attention and recurrent layers drop out by other draws.
        with (
            torch.backends.cudnn.flags(enabled=False),
            seeded(seed, self.source.device),
            torch.enable_grad(),
            sdpa_kernel(SDPBackend.MATH),
        ):
            loss = checked_loss(self.source.task.loss(self.module, batch))
            return loss.detach(), gradients_of(loss, trained)

    def tensors(self, trained: bool) -> dict[str, Tensor]:
        """Copies of the trained parameters, or of all other parameters and buffers."""
        named = {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}
        return {name: each.detach().clone() for name, each in named.items() if each.requires_grad == trained}

    def nudge(self) -> None:
        """Changes every weight a little, differently in each replicate."""
        with torch.no_grad():
            for each in self.module.parameters():
                each.mul_(1.01 + 0.01 * self.replicate)


def _stacked(trees: list[Any]) -> Any:
    if isinstance(trees[0], dict):
        return {name: _stacked([each[name] for each in trees]) for name in trees[0]}
    if isinstance(trees[0], tuple | list):
        return type(trees[0])(_stacked(list(each)) for each in zip(*trees, strict=True))
    return torch.stack(trees)


def _check_method(task: BatchedTask, shared: bool) -> None:
    """Compares a replayed capture with plain modules, in float64 if its own precision does not decide it.

    Raises:
        CannotCapture: the capture is impossible, or differs.
    """
    try:
        _check_gradients(task, shared, TOLERANCE)
    except _Different:
        if task.source.task.recipe.autocast:
            # In 16 bits, units near 0 may be on in one computation and off in the other.
            _check_gradients(task, shared, 1.0)
            _check_autocast(task, shared)
        else:
            _check_gradients(task, shared, ROUNDING)
        source = Source(task.source.task, task.source.device, torch.float64)
        if source.dtype == task.source.dtype:
            raise
        try:
            _check_gradients(BatchedTask(source, task.method), shared, TOLERANCE)
        except (RuntimeError, TypeError, ValueError) as error:
            raise CannotCapture(f"its model cannot be checked in float64: {error}") from error


def _check_autocast(task: BatchedTask, shared: bool) -> None:
    """Raises CannotCapture if a capture that differs from a model under autocast is the model without it."""
    recipe = task.source.task.recipe
    without = replace(task.source.task, recipe=recipe._replace(precision="float32"))
    try:
        _check_gradients(task, shared, TOLERANCE, Source(without, task.source.device))
    except _Different:
        return
    raise CannotCapture(f"in lockstep its model computes in float32, not in {recipe.precision}")


class _Different(CannotCapture):
    """The capture computes something else than the model itself."""


def _check_gradients(task: BatchedTask, shared: bool, tolerance: float, other: Source | None = None) -> None:
    """Compares a replayed capture with plain modules, those of another source if one is given.

    Raises:
        CannotCapture: the capture is impossible, or differs.
    """
    source = other or task.source
    plain = [_Plain(source, 0 if shared else replicate) for replicate in (0, 1)]
    if shared:
        plain[1].module = source.module(0, 1)  # other weights on the same batches
    parameters = _stacked([each.tensors(trained=True) for each in plain])
    kept = _stacked([each.tensors(trained=False) for each in plain])
    batches = [[each.batch(step) for step in (0, 1)] for each in plain]
    batch = map_rows(torch.clone, batches[0][0]) if shared else _stacked([each[0] for each in batches])
    draws = Draws(2, source.device)
    capture = task.gradients(parameters, kept, batch, shared, draws)
    for each in plain:
        each.nudge()
    with torch.no_grad():
        for tensors, trained in ((parameters, True), (kept, False)):
            for name, value in _stacked([each.tensors(trained) for each in plain]).items():
                tensors[name].copy_(value)
        other = batches[0][1] if shared else _stacked([each[1] for each in batches])
        for target, value in zip(leaves(batch), leaves(other), strict=True):
            target.copy_(value)
        draws.seed([Key(0, each.replicate, 1) for each in plain])
        with one_line_errors():
            capture.replay()
    losses, gradients = capture.outputs
    for row, each in enumerate(plain):
        loss, wanted = each.step(1, batches[row][1])
        found = {name: value[row] for name, value in gradients.items()}
        if {name for name, value in wanted.items() if value is not None} != set(found):
            raise _Different("in lockstep other weights have a gradient than in torch")
        _compare("the ", {"loss": losses[row]}, {"loss": loss}, tolerance)
        _compare("the gradient of ", found, {name: wanted[name] for name in found}, tolerance)
        now = {name: value[row] for name, value in kept.items()}
        _compare("the buffer ", now, each.tensors(trained=False), tolerance)


def _compare(what: str, found: Mapping[str, Tensor], wanted: Mapping[str, Any], tolerance: float) -> None:
    """Raises _Different if a tensor differs from the wanted one by more than rounding."""
    scale = max((_norm(each) for each in wanted.values()), default=0.0)
    for name, value in found.items():
        right = wanted[name]
        if value.is_floating_point() or value.is_complex():
            # Gradients that are next to nothing beside the others are nothing but rounding.
            allowed = tolerance * (_norm(right) + 1e-3 * scale) + 1e-12
            difference = _norm(torch.nan_to_num(value) - torch.nan_to_num(right))
            same = difference <= allowed and torch.equal(torch.isfinite(value), torch.isfinite(right))
        else:
            same = torch.equal(value, right)
        if not same:
            raise _Different(f"in lockstep {what}{name} is not what torch computes")


def _norm(tensor: Tensor) -> float:
    finite = torch.nan_to_num(tensor.detach(), posinf=0.0, neginf=0.0)
    return float(
        torch.linalg.vector_norm(finite.to(torch.complex128 if finite.is_complex() else torch.float64))
    )


def _captures_metrics(task: BatchedTask) -> bool:
    """Whether the metrics can be captured, and are then those of the plain modules."""
    source = task.source
    plain = [_Plain(source, replicate) for replicate in (0, 1)]
    rows = take_rows(source.validation, slice(source.task.batch_size))
    parameters = _stacked([each.tensors(trained=True) for each in plain])
    kept = _stacked([each.tensors(trained=False) for each in plain])
    try:
        capture = task.metrics(parameters, kept, rows)
        for each in plain:
            each.nudge()
        with torch.no_grad():
            for name, value in _stacked([each.tensors(trained=True) for each in plain]).items():
                parameters[name].copy_(value)
            with one_line_errors():
                capture.replay()
            for row, each in enumerate(plain):
                wanted = source.task.scores(each.module.eval(), rows)
                found = {name: value[row] for name, value in capture.outputs.items()}
                wanted = {name: torch.as_tensor(value, dtype=torch.float64) for name, value in wanted.items()}
                _compare("the metric ", {name: each.double() for name, each in found.items()}, wanted, 1e-3)
    except CannotCapture:
        return False
    return True


def _check_state(source: Source) -> None:
    """Refuses a model whose steps change more than parameters and buffers: a capture would not repeat it.

    Raises:
        CannotCapture: a step changes a value that it reads, or draws from Python's or NumPy's generator.
    """
    plain, twin = _Plain(source, 0), _Plain(source, 0)
    task = getattr(source.task, "task", source.task)

    def take_first_steps(each: _Plain) -> dict[str, Any]:
        each.step(0, each.batch(0))  # what a model sets up at its first call does not matter
        return changed_values(lambda: state_of(each.module, task), lambda: each.step(1, each.batch(1)))

    changed = take_first_steps(plain)
    if source.foreign_draws is not None:
        raise CannotCapture(f"the loss draws from {source.foreign_draws}: draw with torch instead")
    for name, value in changed.items():
        if not isinstance(value, Tensor):
            raise CannotCapture(f"a step changes the {name}: make it a buffer (register_buffer)")
    # A tensor that is only kept for others to look at does no harm: the next step gives the same without it.
    tensors = [*twin.module.parameters(), *twin.module.buffers()]
    kept = take_first_steps(twin).values()
    with torch.no_grad():
        before = [each.clone() for each in tensors]
        for value in kept:
            if isinstance(value, Tensor):
                value.detach().fill_(torch.nan if value.is_floating_point() or value.is_complex() else -1)
        for target, value in zip(tensors, before, strict=True):
            target.copy_(value)
    try:
        _compare_steps(plain, twin)
    except Exception as error:
        if memory_error(error) is not None:
            raise
        for name in changed:
            raise CannotCapture(f"a step changes the {name}: make it a buffer (register_buffer)") from error
        raise CannotCapture(
            "the loss changes from call to call with the same weights, batch and draws: if it counts its"
            " calls, keep the count in a buffer of the model (register_buffer)"
        ) from error


def _compare_steps(plain: _Plain, twin: _Plain) -> None:
    """Takes the third step of both. Raises _Different if they differ."""
    (loss, gradients), (wanted, others) = (each.step(2, each.batch(2)) for each in (plain, twin))
    _compare("the ", {"loss": loss}, {"loss": wanted}, TOLERANCE)
    found = {name: value for name, value in gradients.items() if value is not None}
    _compare("the gradient of ", found, {name: others[name] for name in found}, TOLERANCE)
    _compare("the buffer ", plain.tensors(trained=False), twin.tensors(trained=False), TOLERANCE)
