"""Finds a way to compute a task for many members at once that gives what a plain training gives.

``vmap``, the batching rules and captures have faults and limits that no list covers. So a method is trusted
only after a capture of it has been replayed on other weights and other batches of two replicates, and every
loss, gradient and buffer was that of the user's own module, called plainly in the same precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from adamtune.engines.base import Source
from adamtune.engines.batching.observed import READ
from adamtune.engines.batching.selection import no_selections
from adamtune.engines.population.attributes import changed_attributes, changed_values, check_state
from adamtune.engines.population.capture import CannotCapture
from adamtune.engines.population.draws import Draws, Key
from adamtune.engines.population.gradients import BRANCH, BatchedTask, Method, one_line_errors
from adamtune.engines.population.plain_module import TOLERANCE, Different, PlainModule, compare, stacked
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.pytree import leaves, map_rows, take_rows

ROUNDING = 0.3
"""The same where rounding has changed the course of a step: the sign of a number that is nearly 0, say, or a
step in 16 bits. Such a method has to be right in float64, by ``TOLERANCE``."""

METHODS = (
    Method(),
    Method(rules=False),
    Method(compiling=True),
    Method(rules=False, compiling=True),
    Method(own_batches=True),
    Method(rules=False, own_batches=True),
)
"""The methods in the order in which they are tried: the fastest first."""
DECIDING = tuple(
    Method(rules=rules, own_batches=own, decisions=()) for own in (False, True) for rules in (True, False)
)
"""Those that are tried where a step decides something by values."""
MORE_STEPS = 3
"""Further steps in which every decision has to be the same."""


_FOUND: WeakKeyDictionary[LoadedTask, dict[tuple[torch.device, torch.dtype, bool], Method | str]] = (
    WeakKeyDictionary()
)


def batched_task(source: Source, reads_values: bool | None = None) -> BatchedTask:
    """The task computed by the first method that is right; it is looked for once for each task.

    Args:
        source: the task.
        reads_values: whether a capture may read values, as decisions and selected rows need; by default, on a
            CPU.

    Raises:
        CannotCapture: none is; the message says why.
    """
    task = source.task.origin or source.task
    reads_values = source.device.type == "cpu" if reads_values is None else reads_values
    known, key = _FOUND.setdefault(task, {}), (source.device, source.dtype, reads_values)
    if key not in known:
        try:
            with nullcontext() if reads_values else no_selections():
                known[key] = _find_method(source, reads_values)
        except CannotCapture as error:
            known[key] = str(error)
    found = known[key]
    if isinstance(found, str):
        raise CannotCapture(found)
    return BatchedTask(source, found)


def _find_method(source: Source, reads_values: bool) -> Method:
    """The first method that is right; arguments as those of ``batched_task``.

    Raises:
        CannotCapture: none is; the message is that of ``vmap`` without batching rules.
    """
    kept = check_state(source)
    reasons: list[CannotCapture] = []
    for method in (*METHODS, *DECIDING):
        if method.decisions is not None and not (reads_values and _decides(reasons[1])):
            break
        task = BatchedTask(source, method)
        try:
            for shared in (False, True):
                _check_method(task, shared)
        except CannotCapture as error:
            # Without the traceback, which would keep all tensors of the computation.
            reasons.append(CannotCapture(str(error)))
            continue
        found = replace(method, captured_metrics=_captures_metrics(task))
        if method.decisions is not None:
            found = replace(found, decisions=tuple(task.decisions), kept=kept)
            if not _decides_safely(source, found):
                break
        return found
    # Without rules, the message is about the user's code and not about a rule.
    raise reasons[1]


def _decides(reason: CannotCapture) -> bool:
    return any(each in str(reason) for each in (READ, BRANCH))


def _decides_safely(source: Source, method: Method) -> bool:
    """Whether steps with one other decision train the same weights and change no further attribute.

    The model itself computes such a step for its member, which a replay does not know of. A step that raises
    an error instead is safe.
    """
    decisions = method.decisions or ()
    usual = _trained_by(source, method, decisions)
    for place, decision in enumerate(decisions):
        if isinstance(decision, bool):
            try:
                if _trained_by(source, method, [*decisions[:place], not decision]) != usual:
                    return False
            except CannotCapture:
                continue
    return True


def _trained_by(source: Source, method: Method, decisions: Sequence[int]) -> set[str]:
    """The parameters with a gradient in a step of such decisions, and attributes that it alone changes."""
    task, plain, found = BatchedTask(source, method), PlainModule(source, 0), set[str]()
    parameters, kept = (stacked([plain.tensors(trained)]) for trained in (True, False))
    batch, draws = stacked([plain.batch(0)]), Draws(1, source.device)

    def step() -> None:
        found.update(task.gradients(parameters, kept, batch, False, draws).outputs[1])

    step()  # what a model sets up at its first call does not matter
    found.clear()
    task.decisions = list(decisions)
    changed = changed_attributes(task.module, changed_values(task.module, step))
    return found | (changed - method.kept)


MEASURED = 4
"""Members whose working set is measured together, because they share a layer's scratch memory."""


def working_set(task: LoadedTask, device: str = "cpu") -> int:
    """The working set of one member's step in bytes: what the step writes to, on the CPU.

    Args:
        task: the task.
        device: where it is to be trained, which may be a device of another machine.

    Raises:
        CannotCapture: the model cannot be trained in lockstep; the message says why.
    """
    source = Source(task, torch.device("cpu"))
    own = batched_task(source, reads_values=device == "cpu")
    plain = PlainModule(source, 0)
    parameters, kept = (stacked([plain.tensors(trained)] * MEASURED) for trained in (True, False))
    batch = map_rows(torch.clone, plain.batch(0))
    return own.gradients(parameters, kept, batch, True, Draws(MEASURED, source.device)).memory // MEASURED


def _check_method(task: BatchedTask, shared: bool) -> None:
    """Compares a replayed capture with plain modules, in float64 if its own precision does not decide it.

    Raises:
        CannotCapture: the capture is impossible, or differs.
    """
    try:
        _check_gradients(task, shared, TOLERANCE)
    except Different:
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
    except Different:
        return
    raise CannotCapture(f"in lockstep its model computes in float32, not in {recipe.precision}")


def _check_gradients(task: BatchedTask, shared: bool, tolerance: float, other: Source | None = None) -> None:
    """Compares a replayed capture with plain modules, those of another source if one is given.

    Raises:
        CannotCapture: the capture is impossible, or differs.
    """
    source = other or task.source
    plain = [PlainModule(source, 0 if shared else replicate) for replicate in (0, 1)]
    if shared:
        plain[1].module = source.module(0, 1)  # other weights on the same batches
    parameters = stacked([each.tensors(trained=True) for each in plain])
    kept = stacked([each.tensors(trained=False) for each in plain])
    batches = [[each.batch(step) for step in (0, 1)] for each in plain]
    batch = map_rows(torch.clone, batches[0][0]) if shared else stacked([each[0] for each in batches])
    draws = Draws(2, source.device)
    capture = task.gradients(parameters, kept, batch, shared, draws)
    for each in plain:
        each.nudge()
    with torch.no_grad():
        for tensors, trained in ((parameters, True), (kept, False)):
            for name, value in stacked([each.tensors(trained) for each in plain]).items():
                tensors[name].copy_(value)
        other = batches[0][1] if shared else stacked([each[1] for each in batches])
        for target, value in zip(leaves(batch), leaves(other), strict=True):
            target.copy_(value)
        draws.seed([Key(0, each.replicate, 1) for each in plain])
        with one_line_errors():
            capture.replay()
    losses, gradients, *failed = capture.outputs
    _check_decisions(failed)
    for row, each in enumerate(plain):
        loss, wanted = each.step(1, batches[row][1])
        found = {name: value[row] for name, value in gradients.items()}
        if {name for name, value in wanted.items() if value is not None} != set(found):
            raise Different("in lockstep other weights have a gradient than in torch")
        compare("the ", {"loss": losses[row]}, {"loss": loss}, tolerance)
        compare("the gradient of ", found, {name: wanted[name] for name in found}, tolerance)
        now = {name: value[row] for name, value in kept.items()}
        compare("the buffer ", now, each.tensors(trained=False), tolerance)
    for _ in range(MORE_STEPS if failed else 0):
        with one_line_errors(), torch.no_grad():
            capture.replay()
        _check_decisions(failed)


def _check_decisions(failed: Sequence[Tensor]) -> None:
    """Raises CannotCapture if a member decides otherwise than recorded."""
    if any(each.any() for each in failed):
        raise CannotCapture(BRANCH)


def _captures_metrics(task: BatchedTask) -> bool:
    """Whether the metrics can be captured, and are then those of the plain modules."""
    source = task.source
    plain = [PlainModule(source, replicate) for replicate in (0, 1)]
    rows = take_rows(source.validation, slice(source.task.batch_size))
    parameters = stacked([each.tensors(trained=True) for each in plain])
    kept = stacked([each.tensors(trained=False) for each in plain])
    try:
        capture = task.metrics(parameters, kept, rows)
        for each in plain:
            each.nudge()
        with torch.no_grad():
            for name, value in stacked([each.tensors(trained=True) for each in plain]).items():
                parameters[name].copy_(value)
            with one_line_errors():
                capture.replay()
            for row, each in enumerate(plain):
                wanted = source.task.scores(each.module.eval(), rows)
                found = {name: value[row] for name, value in capture.outputs.items()}
                wanted = {name: torch.as_tensor(value, dtype=torch.float64) for name, value in wanted.items()}
                compare("the metric ", {name: each.double() for name, each in found.items()}, wanted, 1e-3)
    except CannotCapture:
        return False
    return True
