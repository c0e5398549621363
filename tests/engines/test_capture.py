"""A replay equals the captured function to the last bit, or the function cannot be captured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from adamtune.engines.population.capture import CannotCapture, Capture
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.registry import TASKS

from .models import FEATURES, Calls, Toy
from .training import capture_gradients, capture_scores

Function = Callable[[Tensor], Any]


def drawn(seed: int) -> Tensor:
    return torch.randn(4, 5, generator=torch.Generator().manual_seed(seed))


def bits(tree: Any) -> list[bytes]:
    """The bytes of each tensor: 0 and -0 differ, NaN equals NaN, whatever its sign."""
    leaves = (leaf.detach().contiguous().resolve_conj() for leaf in tree_leaves(tree))
    return [torch.where(leaf.isnan(), torch.nan, leaf).numpy().tobytes() for leaf in leaves]


def assert_replays(function: Function, first: Tensor | None = None) -> Capture:
    """Captures the function with one input and compares replays with two others, one of them twice."""
    x = (drawn(0) if first is None else first).clone()
    with torch.no_grad():
        capture = Capture(function, x)
        for seed in (1, 2, 1):
            x.copy_(drawn(seed))
            expected = function(x.clone())
            capture.replay()
            assert bits(capture.outputs) == bits(expected)
            assert [each.shape for each in tree_leaves(capture.outputs)] == [
                each.shape for each in tree_leaves(expected)
            ]
    return capture


def accumulated(x: Tensor) -> Tensor:
    total = torch.zeros(5)
    for row in x:
        total += row
    return total


def accumulated_from_numbers(x: Tensor) -> Tensor:
    total = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0])
    total += x.sum(0)
    return total


def accumulated_in_a_list(x: Tensor) -> Tensor:
    sums = [torch.zeros(4, 5), torch.ones(4, 5)]
    torch._foreach_add_(sums, [x, x])
    return sums[0] * sums[1]


def written_through_a_view(x: Tensor) -> Tensor:
    doubled = x * 2
    doubled[1] = x[0]
    doubled[:, 0].mul_(3)
    doubled.t()[2].exp_()
    return doubled + x


def written_by_number(x: Tensor) -> Tensor:
    doubled = x * 2
    doubled[torch.tensor([0, 2])] = x[1]
    doubled[:, torch.tensor([3, 1])] += x[:, :2].exp()
    return doubled


def gradient_of_a_choice(x: Tensor) -> Any:
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        chosen = torch.log_softmax(leaf, -1).gather(1, torch.tensor([[0], [3], [3], [4]]))
        table = F.embedding(torch.tensor([1, 1, 3]), leaf)
        return torch.autograd.grad(chosen.sum() + table.sin().sum(), leaf)


def read_before_and_after_writing(x: Tensor) -> tuple[Tensor, Tensor]:
    values = x.exp()
    before = values.sum()
    values.neg_()
    return before, values.sum() + before


def with_gradient(x: Tensor) -> Any:
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        weights = torch.softmax(leaf @ leaf.t() / 2, -1)
        loss = (F.gelu(weights @ leaf) ** 2).mean() + leaf.clamp(-1, 1).logsumexp(1).sum()
        return loss, torch.autograd.grad(loss, leaf)


FUNCTIONS: dict[str, Function] = {
    "the input itself": lambda x: x,
    "a view of the input": lambda x: x.t()[1:],
    "an alias and a result": lambda x: {"alias": x.view(-1)[3:], "result": x * 2},
    "one result twice": lambda x: [*2 * [y := x + 1], y.t()],
    "a constant": lambda x: torch.arange(3.0),
    "a constant and the input": lambda x: torch.linspace(0, 1, 5) * x + torch.eye(4, 5),
    "numbers": lambda x: torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]) * x,
    "an accumulator": accumulated,
    "writing through views": written_through_a_view,
    "reading before and after writing": read_before_and_after_writing,
    "writing by number": written_by_number,
    "the gradient of a choice": gradient_of_a_choice,
    "gradients": with_gradient,
    "many results": lambda x: [*x.sort(0), *x.max(1), *torch.var_mean(x, 0), *x.topk(2)],
    "splitting and joining": lambda x: torch.cat([each.exp() for each in x.split(2)] + [x.relu()]),
    "a chain that overwrites itself": lambda x: x.exp().log1p().sqrt().tanh().sin().cos(),
    "a transposed chain": lambda x: (x.t().exp() + 1).t().contiguous().log() * x,
    "a broadcast": lambda x: (x.mean(0, keepdim=True) - x.mean(1, keepdim=True)).exp() / x.std(),
    "another type": lambda x: (x > 0).float() * x.double() + x.argmax(1, keepdim=True),
    "a reduction in another type": lambda x: (x.sum(0, dtype=torch.float32), x.float().mean(0).double()),
    "no variant that writes": lambda x: x.unfold(1, 2, 1).sum(-1) + F.adaptive_avg_pool1d(x, 4),
    "linear algebra": lambda x: torch.linalg.solve(x @ x.t() + torch.eye(4), x),
    "scattering": lambda x: torch.zeros(4, 5).scatter_add(0, (x > 0).long(), x),
    "choosing rows by number": lambda x: x[torch.tensor([2, 0])] + x[[1, 1]],
    "choosing entries by number": lambda x: x[torch.arange(4), x.argmax(1)],
    "functions of two results": lambda x: torch.aminmax(x, dim=1)[1] - x.logsumexp(1),
    "log sigmoid": F.logsigmoid,
    "nothing of the input": lambda x: x.detach() * 0,
}


AWKWARD: dict[str, Function] = {
    "an accumulator made of numbers": accumulated_from_numbers,
    "accumulators in a list": accumulated_in_a_list,
    "a total in another type": lambda x: x.float().sum(dtype=torch.float64),
    "a norm in another type": lambda x: torch.linalg.vector_norm(x.float(), dim=0, dtype=torch.float64),
    "a complex conjugate": lambda x: torch.fft.rfft(x).conj(),
    "a power spectrum": lambda x: ((z := torch.fft.rfft(x)) * z.conj()).real,
    "a negative view": lambda x: torch.complex(x, x).conj().imag * 3,
}
"""Functions that few models have: it is enough if they cannot be captured."""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_replay_equals_the_function(name: str) -> None:
    assert_replays(FUNCTIONS[name])


@pytest.mark.parametrize("name", AWKWARD)
def test_a_replay_equals_the_function_or_it_cannot_be_captured(name: str) -> None:
    with suppress(CannotCapture):
        assert_replays(AWKWARD[name])


def test_a_replay_computes_infinities_and_nan() -> None:
    x = torch.zeros(4, 5)
    with torch.no_grad():
        capture = Capture(lambda x: (x.log(), (1 / x).sum(0), x.exp().log().clamp(-1, 1)), x)
        x.copy_(torch.tensor([torch.nan, torch.inf, -torch.inf, 0.0, 800.0]))
        capture.replay()
        assert bits(capture.outputs) == bits((x.log(), (1 / x).sum(0), x.exp().log().clamp(-1, 1)))


def test_nan_in_one_replay_does_not_change_the_next() -> None:
    """The memory of all results holds NaN when the next replay starts."""
    x = drawn(0)
    with torch.no_grad():
        capture = Capture(with_gradient, x)
        x.fill_(torch.nan)
        capture.replay()
        assert tree_leaves(capture.outputs)[0].isnan()
        x.copy_(drawn(3))
        capture.replay()
        assert bits(capture.outputs) == bits(with_gradient(drawn(3)))


def test_inputs_may_be_trees() -> None:
    inputs: Any = {"a": drawn(0), "b": [drawn(1), torch.tensor(3)]}
    with torch.no_grad():
        capture = Capture(
            lambda tree, more: {"sum": tree["a"] + tree["b"][0] * tree["b"][1] + more}, inputs, drawn(2)
        )
        inputs["a"].copy_(drawn(4))
        capture.replay()
    assert torch.equal(capture.outputs["sum"], drawn(4) + drawn(1) * 3 + drawn(2))


def test_a_replay_does_not_write_to_inputs_or_to_outer_tensors() -> None:
    captured = drawn(5)
    x = drawn(0)
    with torch.no_grad():
        capture = Capture(lambda x: (x * captured).exp().sum(), x)
        capture.replay()
    assert torch.equal(x, drawn(0))
    assert torch.equal(captured, drawn(5))


def test_outputs_keep_no_graph() -> None:
    x = drawn(0)
    with torch.enable_grad():
        capture = Capture(with_gradient, x)
    assert not any(each.requires_grad for each in tree_leaves(capture.outputs))


def test_memory_of_results_is_reused() -> None:
    """Of twenty results, two are needed at a time; elementwise kernels overwrite their argument."""

    def chain(x: Tensor) -> Tensor:
        for _ in range(10):
            x = (x @ torch.ones(5, 5)).tanh()
        return x

    size = 4 * 5 * 8
    assert assert_replays(chain).memory <= 4 * size
    assert assert_replays(lambda x: x.exp()).memory == size
    assert assert_replays(lambda x: x.t()).memory == 0


def test_memory_of_results_that_no_call_reads_is_reused() -> None:
    """Sorting returns indices, which nothing reads here."""

    def sorted_often(x: Tensor) -> Tensor:
        for dim in 5 * (0, 1):
            x = x.sort(dim)[0]
        return x

    assert assert_replays(sorted_often).memory <= 4 * 4 * 5 * 8


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (F.dropout, "random"),
        (lambda x: x + torch.randn(4, 5), "random"),
        (lambda x: x * torch.empty(5).uniform_(), "random"),
        (lambda x: x * x.sum().item(), "control flow"),
        (lambda x: x if x.sum() > 0 else -x, "control flow"),
        (lambda x: x[x > 0].sum(), "control flow"),
        (lambda x: x.nonzero().sum(), "control flow"),
        (lambda x: x.unique().sum(), "control flow"),
        (lambda x: x if torch.allclose(x, x + 1) else -x, "control flow"),
    ],
)
def test_functions_that_a_replay_would_not_repeat_cannot_be_captured(function: Function, reason: str) -> None:
    with pytest.raises(CannotCapture, match=reason):
        Capture(function, drawn(0))


def test_a_function_that_changes_an_outer_tensor_cannot_be_captured() -> None:
    """Each replay would change it again, so results would depend on the number of replays."""
    calls = torch.zeros(())
    with pytest.raises(CannotCapture):
        Capture(lambda x: x * calls.add_(1), drawn(0))


class Program:
    """A random function: each step applies an operation to two earlier values and appends its result."""

    OPERATIONS: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
        lambda a, b: a + b,
        lambda a, b: a * b,
        lambda a, b: a / (b.abs() + 1),
        lambda a, b: a @ b.t() @ a,
        lambda a, b: torch.where(a > b, a, b.sin()),
        lambda a, b: a.tanh(),
        lambda a, b: a.exp().clamp(max=5),
        lambda a, b: torch.softmax(a, -1),
        lambda a, b: a - a.mean(0, keepdim=True),
        lambda a, b: a.cumsum(1) / 5,
        lambda a, b: a.t().contiguous().t(),
        lambda a, b: a.flip(0),
        lambda a, b: a.roll(1, 1),
        lambda a, b: torch.cat([a[:2], b[2:]]),
        lambda a, b: a.clone().add_(b),
        lambda a, b: a.clone().t().mul_(2).t(),
        lambda a, b: a.sort(1)[0],
        lambda a, b: torch.zeros_like(a).index_add_(0, torch.tensor([3, 1, 0, 2]), b),
        lambda a, b: F.layer_norm(a, (5,)),
        lambda a, b: a.gather(1, b.argsort(1)),
        lambda a, b: torch.maximum(a, b).sqrt().nan_to_num(),
        lambda a, b: a[:, :1].expand(4, 5),
        lambda a, b: a.unsqueeze(0).expand(3, 4, 5).sum(0),
        lambda a, b: a.view(5, 4).reshape(4, 5) if a.is_contiguous() else a,
        lambda a, b: a.amax(1, keepdim=True) + torch.arange(5.0),
    )

    def __init__(self, steps: list[tuple[int, int, int]]) -> None:
        self.steps = steps

    def __repr__(self) -> str:
        return f"Program({self.steps})"

    def __call__(self, x: Tensor) -> list[Tensor]:
        values = [x, x * 0.5]
        for operation, first, second in self.steps:
            a, b = values[first % len(values)], values[second % len(values)]
            values.append(self.OPERATIONS[operation](a, b))
        return [values[-1], values[len(values) // 2]]

    def gradient(self, x: Tensor) -> list[Tensor]:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            results = self(leaf)
            found = torch.autograd.grad(sum(each.sin().sum() for each in results), leaf)
        return [*results, *found]


pick = st.integers(0, 40)
programs = st.lists(
    st.tuples(st.integers(0, len(Program.OPERATIONS) - 1), pick, pick), min_size=1, max_size=12
).map(Program)


@settings(max_examples=60)
@given(program=programs)
def test_a_replay_equals_any_program(program: Program) -> None:
    assert_replays(program)


@settings(max_examples=40)
@given(program=programs)
def test_a_replay_equals_the_gradient_of_any_program(program: Program) -> None:
    assert_replays(program.gradient)


def placed(task: LoadedTask, seed: int, shared: bool, members: int = 3) -> tuple[dict[str, Tensor], Any]:
    """Parameters of random members, and a batch of the task's rows."""
    generator = torch.Generator().manual_seed(seed)
    parameters = {
        name: torch.randn(members, *each.shape, generator=generator) / 3
        for name, each in task.build().named_parameters()
    }
    lead = (task.batch_size,) if shared else (members, task.batch_size)
    index = torch.randint(len(task.train[0]), lead, generator=generator)
    batch = tuple(rows[index] for rows in task.train)
    return parameters, tuple(each.double() if each.is_floating_point() else each for each in batch)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("name", TASKS)
def test_a_replay_equals_a_tasks_gradients(name: str, shared: bool, tasks: Mapping[str, LoadedTask]) -> None:
    task = tasks[name]
    parameters, batch = placed(task, 0, shared)
    with torch.no_grad():
        capture = capture_gradients(task, parameters, batch, shared)
        for seed in (1, 2):
            others, rows = placed(task, seed, shared)
            for into, value in zip(
                tree_leaves((parameters, batch)), tree_leaves((others, rows)), strict=True
            ):
                into.copy_(value)
            capture.replay()
            losses, gradients = capture_gradients(task, others, rows, shared).outputs
            fresh = capture_gradients(task, others, rows, shared)
            fresh.replay()
            assert bits(capture.outputs) == bits(fresh.outputs)
            assert losses.shape == (3,)
            assert len(set(capture.outputs[0].tolist())) == 3
            for key, gradient in capture.outputs[1].items():
                assert gradient.shape == parameters[key].shape == gradients[key].shape
                assert gradient.is_contiguous()
                assert gradient.abs().amax() > 0


@pytest.mark.parametrize("name", TASKS)
def test_losses_gradients_and_scores_equal_those_of_each_member_alone(
    name: str, tasks: Mapping[str, LoadedTask]
) -> None:
    task = tasks[name]
    validation = tuple(each.double() if each.is_floating_point() else each for each in task.validation)
    parameters, batch = placed(task, 3, shared=False)
    with torch.no_grad():
        gradients = capture_gradients(task, parameters, batch, shared=False)
        scores = capture_scores(task, parameters, validation)
        gradients.replay()
        scores.replay()
    for row in range(3):
        model = task.build()
        model.load_state_dict({key: value[row] for key, value in parameters.items()})
        loss = task.loss(model, tuple(each[row] for each in batch))
        loss.backward()
        torch.testing.assert_close(gradients.outputs[0][row], loss.detach(), rtol=1e-12, atol=0)
        for key, parameter in model.named_parameters():
            torch.testing.assert_close(gradients.outputs[1][key][row], parameter.grad, rtol=1e-9, atol=1e-12)
        with torch.no_grad():
            for key, score in task.scores(model, validation).items():
                torch.testing.assert_close(scores.outputs[key][row], score, rtol=1e-12, atol=0)


class Computed(TorchDispatchMode):
    """Records the size of each result's memory, and keeps the results alive."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}
        self._kept: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self._kept.append(result)
        for each in tree_leaves(result):
            if isinstance(each, Tensor):
                self.sizes[each.untyped_storage().data_ptr()] = each.untyped_storage().nbytes()
        return result


@pytest.mark.parametrize("name", TASKS)
def test_a_steps_working_set_is_less_than_half_of_its_results(
    name: str, tasks: Mapping[str, LoadedTask]
) -> None:
    parameters, batch = placed(tasks[name], 0, shared=True)
    with Computed() as computed:
        capture = capture_gradients(tasks[name], parameters, batch, shared=True)
    assert 0 < capture.memory < sum(computed.sizes.values()) / 2


NOT_CAPTURED = {
    "item": (
        lambda: Calls(lambda self, x: self.head(x) * self.head(x).sum().item(), head=nn.Linear(FEATURES, 1)),
        r"\.item\(\)",
    ),
    "if": (
        lambda: Calls(
            lambda self, x: self.head(x) if self.head(x).sum() > 0 else x[:, :1], head=nn.Linear(FEATURES, 1)
        ),
        "control flow",
    ),
    "if of the batch": (
        lambda: Calls(lambda self, x: self.head(x if x.sum() > 0 else -x), head=nn.Linear(FEATURES, 1)),
        "control flow",
    ),
    "a counter": (
        lambda: Calls(
            lambda self, x: self.head(x) * self.calls.add_(1),
            head=nn.Linear(FEATURES, 1),
            calls=torch.zeros(()),
        ),
        "change",
    ),
}


@pytest.mark.parametrize("name", NOT_CAPTURED)
def test_a_model_that_cannot_be_captured_is_refused_with_the_reason(name: str) -> None:
    make, reason = NOT_CAPTURED[name]
    task = Toy(make)
    parameters, batch = placed(task, 0, shared=True)
    with pytest.raises(CannotCapture, match=reason) as refusal:
        capture_gradients(task, parameters, batch, shared=True)
    assert "\n" not in str(refusal.value)


def test_running_out_of_memory_is_not_reported_as_a_model_that_cannot_be_captured() -> None:
    def exhausting(self: Any, x: Tensor) -> Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")

    task = Toy(lambda: Calls(exhausting, head=nn.Linear(FEATURES, 1)))
    parameters, batch = placed(task, 0, shared=True)
    with pytest.raises(RuntimeError, match="can't allocate"):
        capture_gradients(task, parameters, batch, shared=True)


def test_an_error_without_a_message_is_reported_by_its_type() -> None:
    def unfinished(self: Any, x: Tensor) -> Tensor:
        raise NotImplementedError

    task = Toy(lambda: Calls(unfinished, head=nn.Linear(FEATURES, 1)))
    parameters, batch = placed(task, 0, shared=True)
    with pytest.raises(CannotCapture, match="NotImplementedError"):
        capture_gradients(task, parameters, batch, shared=True)
