"""Programs make the same calls as Python does, and leave only those that they cannot make to Python."""

from __future__ import annotations

import gc
import itertools
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from adamtune.engines.native import torch_calls
from adamtune.engines.native.loader import has_kernels
from adamtune.engines.native.program import Program
from adamtune.engines.population import replay
from adamtune.engines.population.replay import KernelCall, compile_calls, compute_and_copy

aten = torch.ops.aten
needs_programs = pytest.mark.skipif(
    not has_kernels() or torch_calls.torch_interface() is None,
    reason="needs a C compiler and torch 2.13",
)


def call(kernel: Callable[..., Any], *args: Any, **kwargs: Any) -> KernelCall:
    return KernelCall(kernel, args, kwargs)


def computed(kernel: Any, results: Sequence[Tensor], *args: Any, **kwargs: Any) -> KernelCall:
    """The call of a kernel that returns new tensors."""
    return KernelCall(compute_and_copy, (kernel, results, args, kwargs), {})


def drawn(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def bits(tensor: Tensor) -> bytes:
    """The bytes of a tensor: 0 and -0 differ, NaN equals NaN."""
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


def tensors(each: KernelCall) -> list[Tensor]:
    return [leaf for leaf in tree_leaves((each.args, each.kwargs)) if isinstance(leaf, Tensor)]


def assert_equals_python(made: KernelCall, in_c: bool = True) -> None:
    """Makes a call by a replay and from Python, and compares all its tensors; twice, with other values."""
    copies: dict[int, Tensor] = {}

    def copy(tensor: Tensor) -> Tensor:
        return copies.setdefault(id(tensor), tensor.clone())

    expected = KernelCall(made.kernel, *tree_map_only(Tensor, copy, (made.args, made.kwargs)))
    run = compile_calls([made])
    assert isinstance(run, Program) == in_c
    with torch.no_grad():
        for _ in range(2):
            run()
            expected.kernel(*expected.args, **expected.kwargs)
            for ours, theirs in zip(tensors(made), tensors(expected), strict=True):
                assert bits(ours) == bits(theirs)
                if ours.is_floating_point():
                    ours.mul_(1.5)
                    theirs.mul_(1.5)


def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.full(shape, 7.0).to(dtype)


X, INDEX = drawn(4, 5), torch.tensor([[0, 3], [1, 1]])
CALLS = {
    "tensors": call(aten.mul.out, X.long(), X.long() + 1, out=empty(4, 5, dtype=torch.int64)),
    "a tensor without dimensions": call(aten.exp.out, drawn(), out=empty()),
    "a tensor without elements": call(aten.exp.out, drawn(0, 3), out=empty(0, 3)),
    "a transposed tensor": call(aten.exp.out, X.t(), out=empty(5, 4).t().contiguous().t()),
    "half precision": call(aten.mul.out, X.bfloat16(), X.bfloat16(), out=empty(4, 5, dtype=torch.bfloat16)),
    "complex numbers": call(aten.exp.out, X + 1j, out=empty(4, 5, dtype=torch.complex64)),
    "truth values": call(aten.logical_not.out, X > 0, out=empty(4, 5, dtype=torch.bool)),
    "whole number and truth value": call(aten._softmax.out, X, -1, False, out=empty(4, 5)),
    "a list of whole numbers": call(aten.sum.IntList_out, X, [1], True, out=empty(4, 1)),
    "negative whole number in a list": call(aten.flip.out, X, [-2], out=empty(4, 5)),
    "no list of whole numbers": call(aten.sum.IntList_out, X, None, False, out=empty()),
    "a type": call(aten.sum.IntList_out, X, [0], dtype=torch.float64, out=empty(5, dtype=torch.float64)),
    "a real number and optional tensors": call(
        aten.native_layer_norm.out,
        *(X, [5], drawn(5), drawn(5, seed=1), 1e-3),
        out0=empty(4, 5),
        out1=empty(4, 1),
        out2=empty(4, 1),
    ),
    "optional tensors left out": call(
        aten.native_layer_norm.out,
        *(X, [5], None, None, 1),
        out0=empty(4, 5),
        out1=empty(4, 1),
        out2=empty(4, 1),
    ),
    "a list of tensors": call(aten.cat.out, [X, X * 2], 1, out=empty(4, 10)),
    "a list of optional tensors": call(aten.index.Tensor_out, X, [None, INDEX], out=empty(4, 2, 2)),
    "text": call(aten.gelu.out, X, approximate="tanh", out=empty(4, 5)),
    "a default": call(aten.gelu.out, X, out=empty(4, 5)),
    "an optional real number": call(aten.logit.out, X.sigmoid(), 0.3, out=empty(4, 5)),
    "no generator": call(aten.bernoulli_.float, empty(4, 5), 1.0),
    "a list that is written to": call(aten._foreach_mul_.List, [X.clone(), X[0].clone()], [X, X[0] + 1]),
    "several results": call(
        aten.sort.values_stable, X, stable=True, values=empty(4, 5), indices=empty(4, 5, dtype=torch.int64)
    ),
    "a copy to another type": call(aten.copy_.default, empty(4, 5, dtype=torch.float64), X),
    "a result to copy": computed(aten.exp.default, [empty(4, 5)], X),
    "results in a list": computed(aten.unbind_copy.int, [empty(5) for _ in range(4)], X),
    "a result left out": computed(
        aten.convolution_backward.default,
        [empty(2, 3, 3)],
        *(drawn(1, 2, 4), drawn(1, 3, 6), drawn(2, 3, 3), None, [1], [0], [1], False, [0], 1),
        [False, True, False],
    ),
    "a type, a layout, a device and a memory format": computed(
        aten._to_copy.default,
        [empty(4, 5, dtype=torch.float64)],
        X,
        dtype=torch.float64,
        layout=torch.strided,
        device=torch.device("cpu"),
        memory_format=torch.preserve_format,
    ),
}
TEXTS = {"text", "a default"}


@needs_programs
@pytest.mark.parametrize("name", CALLS)
def test_a_program_makes_calls_with_every_kind_of_argument(name: str) -> None:
    assert_equals_python(CALLS[name], in_c=torch_calls.TEXT or name not in TEXTS)


LEFT_TO_PYTHON = {
    "a number of unknown type": call(aten.elu.out, X, 0.3, out=empty(4, 5)),
    "a conjugate": call(aten.exp.out, (X + 1j).conj(), out=empty(4, 5, dtype=torch.complex64)),
    "a sparse tensor": computed(aten._to_dense.default, [empty(4, 5)], X.relu().to_sparse()),
    "a scaled addition": call(aten.add.out, X, X, alpha=2, out=empty(4, 5)),
    "an addition of whole numbers": call(aten.add_.Scalar, INDEX.clone(), 1),
    "half precision times a number": call(aten.mul.out, X.half(), 0.1, out=empty(4, 5, dtype=torch.float16)),
    "a function": call(lambda x: x.neg_(), X.clone()),
}


@pytest.mark.parametrize("name", LEFT_TO_PYTHON)
def test_python_makes_the_calls_that_a_program_cannot_make(name: str) -> None:
    made = LEFT_TO_PYTHON[name]
    assert not isinstance(compile_calls([made]), Program)
    if name not in ("a conjugate", "a sparse tensor"):
        assert_equals_python(made, in_c=False)


SPECIAL = torch.tensor(
    [0.0, -0.0, 1.0, -1.0, torch.inf, -torch.inf, torch.nan, 1e-40, -1e-40, 3.3, 1e38, 1e-12, -100.0, 0.5]
)
LEFT = torch.cat([SPECIAL.repeat(14), drawn(500) * 10])
RIGHT = torch.cat([SPECIAL.repeat_interleave(14), drawn(500, seed=1) * 10])
NUMBERS = [0, 0.0, -0.0, 1, 0.1, -1.5, 1e-12, 3, torch.inf]
FLOATS = [torch.float32, torch.float64]


def out(like: Tensor) -> Tensor:
    return torch.empty_like(like, memory_format=torch.contiguous_format)


@needs_programs
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ["add", "sub", "mul", "div"])
def test_arithmetic_on_tensors_is_equal_to_torchs(name: str, dtype: torch.dtype) -> None:
    packet = getattr(aten, name)
    pairs = [(LEFT, RIGHT), (drawn(3, 4), drawn(4)), (drawn(3, 1), drawn(4)), (drawn(3, 4), drawn(1, 1))]
    for x, y in ((x.to(dtype), y.to(dtype)) for x, y in pairs):
        assert_equals_python(call(packet.out, x, y, out=out(x + y)))
        assert_equals_python(call(packet.out, y, x, out=out(x + y)))
    assert_equals_python(call(getattr(aten, f"{name}_").Tensor, LEFT.to(dtype), RIGHT.to(dtype)))


@needs_programs
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("number", NUMBERS)
def test_arithmetic_with_a_number_is_equal_to_torchs(number: float, dtype: torch.dtype) -> None:
    x = LEFT.to(dtype)
    for name in ("add", "sub", "mul", "div", "rsub"):
        for value in (x, x[:1].reshape(()).clone()):
            assert_equals_python(call(getattr(aten, name).Scalar_out, value, number, out=out(value)))
    for name in ("add", "sub", "mul", "div"):
        assert_equals_python(call(getattr(aten, name).out, x, number, out=out(x)))
        assert_equals_python(call(getattr(aten, f"{name}_").Scalar, x.clone(), number))
    for name in ("clamp_min", "clamp_max"):
        assert_equals_python(call(getattr(aten, name).out, x, number, out=out(x)))
    gradient = call(aten.threshold_backward.grad_input, RIGHT.to(dtype), x, number, grad_input=out(x))
    assert_equals_python(gradient)


@needs_programs
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("power", [1, 2, 3, 2.0])
def test_powers_are_equal_to_torchs(power: float, dtype: torch.dtype) -> None:
    x = LEFT.to(dtype)
    assert_equals_python(call(aten.pow.Tensor_Scalar_out, x, power, out=out(x)))
    assert_equals_python(call(aten.pow_.Scalar, x.clone(), power))


@needs_programs
@pytest.mark.parametrize("dtype", [*FLOATS, torch.int64, torch.int32, torch.bool])
@pytest.mark.parametrize("number", [0, 0.5, -1, True])
def test_comparisons_and_fills_with_a_number_are_equal_to_torchs(number: float, dtype: torch.dtype) -> None:
    x = SPECIAL.nan_to_num(posinf=5, neginf=5).clamp(-1e6, 1e6).to(dtype)
    for value in (x, x[2]):
        for name in ("eq", "ne", "lt", "le", "gt", "ge"):
            made = call(
                getattr(aten, name).Scalar_out, value, number, out=empty(*value.shape, dtype=torch.bool)
            )
            assert_equals_python(made)
        kind = torch.result_type(value, number)
        assert_equals_python(call(aten.mul.out, value, number, out=empty(*value.shape, dtype=kind)))
    assert_equals_python(call(aten.fill_.Scalar, x.clone(), number))
    assert_equals_python(call(aten.masked_fill_.Scalar, x.clone(), SPECIAL > 0, number))
    assert_equals_python(call(aten.masked_fill.Scalar_out, x, SPECIAL > 0, number, out=out(x)))


@needs_programs
def test_arithmetic_is_equal_to_torchs_in_every_layout() -> None:
    block = drawn(2, 3, 4, 5)
    layouts = [
        block,
        block.contiguous(memory_format=torch.channels_last),
        drawn(5, 4, 3, 2).permute(3, 2, 1, 0),
        drawn(2, 3, 8, 5)[:, :, ::2],
        drawn(3, 1, 5).expand(2, 3, 4, 5),
        drawn(4, 1),
        drawn(),
    ]
    for x, y, target in itertools.product(layouts, layouts, layouts[:4]):
        into = torch.empty_strided(target.shape, target.stride(), dtype=x.dtype)
        if torch.broadcast_shapes(x.shape, y.shape) == into.shape:
            assert_equals_python(call(aten.sub.out, x.clone(), y.clone(), out=into))


@needs_programs
def test_tensors_that_overlap_otherwise_than_element_by_element_are_left_to_python() -> None:
    x = drawn(6)
    run = compile_calls(
        [call(aten.add.out, x[:1], x[:1].clone(), out=x[:1]), call(aten.add_.Tensor, x[:5], x[:1])]
    )
    assert not isinstance(run, Program)


def test_calls_are_made_in_order_whoever_makes_them() -> None:
    x, seen = torch.ones(3), []
    calls = [
        call(aten.mul_.Tensor, x, torch.tensor(3.0)),
        call(lambda: seen.append(x.tolist())),
        call(aten.exp_.default, x),
        call(aten.log_.default, x),
        call(lambda: seen.append(x.round().tolist())),
        call(x.zero_),
        call(aten.add_.Scalar, x, 2),
    ]
    run = compile_calls(calls)
    run()
    run()
    assert seen == [[3.0] * 3, [3.0] * 3, [6.0] * 3, [6.0] * 3]
    assert x.tolist() == [2.0] * 3


@needs_programs
def test_a_call_from_python_leaves_the_calls_around_it_to_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []

    class Counted(Program):
        def __init__(self, calls: Sequence[Any]) -> None:
            lengths.append(len(calls))
            super().__init__(calls)

    monkeypatch.setattr(replay, "Program", Counted)
    x = drawn(3)
    compile_calls(
        [*[call(aten.exp_.default, x)] * 4, call(aten.elu_.default, x), *[call(aten.neg_.default, x)] * 3]
    )
    assert lengths == [4, 3]


@needs_programs
def test_an_error_has_torchs_message_and_ends_the_program() -> None:
    x, index = drawn(3), torch.tensor([7])
    run = compile_calls(
        [call(aten.index_select.out, drawn(3), 0, index, out=empty(1)), call(aten.zero_.default, x)]
    )
    for _ in range(2):
        with pytest.raises(RuntimeError, match="index out of range"):
            run()
    assert x.any()
    index.zero_()
    run()
    assert not x.any()


@needs_programs
def test_an_error_in_another_thread_does_not_change_the_message() -> None:
    bad = compile_calls([call(aten.index_select.out, drawn(3), 0, torch.tensor([7]), out=empty(1))])
    worse = compile_calls([call(aten.mm.out, drawn(2, 3), drawn(2, 3), out=empty(2, 3))])

    def message(run: Callable[[], None]) -> str:
        with pytest.raises(RuntimeError) as error:
            run()
        return str(error.value)

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(message, [bad, worse] * 100))
    assert all("out of range" in each for each in found[::2])
    assert all("mat1 and mat2" in each for each in found[1::2])


def test_without_a_compiler_python_makes_all_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adamtune.engines.native.loader.kernel_library", lambda dtype: None)
    x = drawn(3)
    run = compile_calls([call(aten.exp.out, x, out=x), call(aten.add_.Scalar, x, 1)])
    run()
    assert not isinstance(run, Program)
    torch.testing.assert_close(x, drawn(3).exp() + 1, rtol=0, atol=0)


@needs_programs
def test_where_torch_lacks_the_interface_python_calls_its_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_calls, "torch_interface", lambda: None)
    x = drawn(3)
    assert not isinstance(compile_calls([call(aten.exp_.default, x)]), Program)
    assert isinstance(compile_calls([call(aten.add_.Scalar, x, 1)]), Program)


@needs_programs
def test_the_functions_of_torch_are_looked_up_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch_calls.torch_interface() is not None
    monkeypatch.setattr(torch_calls, "FUNCTIONS", (*torch_calls.FUNCTIONS, "no_such_function"))
    assert torch_calls.torch_interface.__wrapped__() is None


@needs_programs
def test_a_replay_records_no_history_and_changes_no_count() -> None:
    leaf = drawn(3).requires_grad_()
    result = torch.zeros(3)
    compile_calls([call(aten.exp.out, leaf, out=result), call(aten.mul_.Tensor, leaf, leaf)])()
    assert not result.requires_grad
    torch.testing.assert_close(leaf.detach(), drawn(3) ** 2)
    assert leaf.grad_fn is None


def memory() -> int:
    """The memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@needs_programs
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
@pytest.mark.parametrize("name", sorted(CALLS.keys() - (set() if torch_calls.TEXT else TEXTS)))
def test_a_replay_leaves_no_memory_behind(name: str) -> None:
    run = compile_calls([CALLS[name]] * 20)
    with torch.no_grad():
        for _ in range(100):
            run()
        before = memory()
        for _ in range(1000):
            run()
    # The smallest object takes 32 bytes: 640,000 if each call leaves one behind.
    assert memory() - before < 200_000


@needs_programs
def test_a_replay_that_is_deleted_frees_its_tensors() -> None:
    x, result = drawn(3), torch.zeros(3)
    run = compile_calls([call(aten.exp.out, x, out=result)])
    found = weakref.ref(result)
    del result
    gc.collect()
    run()
    assert found() is not None
    del run
    gc.collect()
    assert found() is None


@needs_programs
def test_threads_replay_at_once() -> None:
    def train(seed: int) -> bool:
        torch.set_num_threads(1)
        x, y = drawn(50, seed=seed), torch.zeros(50)
        calls = [
            call(aten.exp.out, x, out=y),
            computed(aten.cumsum.default, [y], y, 0),
            call(aten.add_.Tensor, x, y),
        ]
        expected = x.clone()
        run = compile_calls(calls * 3)
        with torch.no_grad():
            for _ in range(3):
                run()
                for _ in range(3):
                    expected += expected.exp().cumsum(0)
        return bits(expected) == bits(x)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(train, range(200)))


@needs_programs
def test_python_runs_while_a_program_does() -> None:
    x = torch.full((1 << 16,), 0.5)
    run = compile_calls([call(aten.sin_.default, x)] * 300)
    done = threading.Event()
    counts: list[int] = []

    def count() -> None:
        turns = 0
        while not done.is_set():
            turns += 1
        counts.append(turns)

    thread = threading.Thread(target=count)
    thread.start()
    run()
    done.set()
    thread.join()
    assert counts[0] > 1000
