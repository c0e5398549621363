"""Each of torch's private names does what the engines take it to do, and no other file uses any."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import vmap

import adamtune
from adamtune.engines import torch_private
from adamtune.engines.torch_private import (
    COMPUTED_VIEWS,
    ERROR_CHECK,
    REFUSES_NAN,
    DispatchMode,
    OpOverload,
    arguments,
    capturable,
    change_counts,
    compiling,
    is_batched,
    is_differentiated,
    is_mutable,
    operator_name,
    overload_name,
    overloads,
    require_gradient,
    return_types,
    storage_id,
    tensor_places,
    tree_leaves,
    tree_map,
    tree_map_only,
    uncompiled,
    unwrapped,
    wrapped_like,
)
from adamtune.optimizers.registry import OPTIMIZERS, build

aten = torch.ops.aten


class Recorder(DispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls.append((func, args))
        return func(*args, **(kwargs or {}))


def test_dispatch_mode_receives_kernel_calls_below_vmap_and_autograd() -> None:
    x = torch.ones(3, 2, requires_grad=True)
    with Recorder() as recorder:
        (gradient,) = torch.autograd.grad(vmap(lambda row: row.exp().sum())(x).sum(), x)
    kernels = [kernel for kernel, _ in recorder.calls]
    assert kernels[0] == aten.exp.default
    assert kernels.count(aten.mul.Tensor) == 1, "of the backward pass"
    # All members in one call, as plain tensors: neither those of vmap nor those with a graph.
    (exp_argument,) = recorder.calls[0][1]
    assert exp_argument.shape == (3, 2)
    torch.testing.assert_close(gradient, x.detach().exp())


def test_dispatch_mode_stops_where_it_ends() -> None:
    with Recorder() as recorder:
        torch.ones(2).exp()
    count = len(recorder.calls)
    torch.ones(2).exp()
    assert len(recorder.calls) == count == 2


def test_dispatch_mode_does_not_import_dynamo() -> None:
    code = """
import sys, torch
from adamtune.engines.torch_private import DispatchMode
class Mode(DispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))
with Mode():
    torch.ones(2).exp()
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_op_overload_is_the_type_of_an_operators_overload() -> None:
    assert isinstance(aten.add.Tensor, OpOverload)
    assert not isinstance(aten.add, OpOverload)
    assert not isinstance(torch.add, OpOverload)
    assert (aten.add.Tensor.namespace, aten.add.Tensor.overloadpacket) == ("aten", aten.add)
    assert torch.Tag.pointwise in aten.add.Tensor.tags
    assert torch.Tag.nondeterministic_seeded in aten.bernoulli.default.tags
    assert torch.Tag.dynamic_output_shape in aten.nonzero.default.tags
    assert torch.Tag.data_dependent_output in aten._local_scalar_dense.default.tags


def test_computed_views_compute_what_the_views_stand_for() -> None:
    x = torch.tensor([1 + 2j, 3 - 1j])
    assert [str(each) for each in COMPUTED_VIEWS] == ["aten._conj.default", "aten._neg_view.default"]
    for view, kernel in COMPUTED_VIEWS.items():
        marked, computed = view(x), kernel(x)
        assert marked.is_conj() or marked.is_neg()
        assert not computed.is_conj()
        assert not computed.is_neg()
        assert torch.equal(marked.resolve_conj().resolve_neg(), computed)


def test_factorizations_raise_errors_by_a_kernel_of_their_own_or_for_nan() -> None:
    class Kernels(DispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            called.append(func)
            return func(*args, **(kwargs or {}))

    for function in (torch.linalg.cholesky, torch.linalg.inv):
        called: list[Any] = []
        with Kernels():
            function(torch.eye(2))
        assert called[-1] is ERROR_CHECK
    for function in (torch.linalg.eigh, torch.linalg.svd, torch.linalg.eig):
        called = []
        with Kernels():
            function(torch.eye(2))
        assert {each.overloadpacket for each in called} & REFUSES_NAN


def test_a_compiler_is_said_to_be_at_work_while_compiling_is_entered() -> None:
    assert not torch.compiler.is_compiling()
    with compiling():
        assert torch.compiler.is_compiling()
    assert not torch.compiler.is_compiling()


def test_batched_tensors_are_told_from_others_and_unwrapped_and_wrapped() -> None:
    x, other = torch.arange(6.0).view(3, 2), torch.zeros(2)

    def seen(row: Tensor) -> Tensor:
        assert is_batched(row)
        assert not is_batched(other)
        assert unwrapped(row).shape == (2, 3)
        assert not is_differentiated(row)
        return wrapped_like(unwrapped(row) * 2, row)

    # The members are the last dimension of the argument.
    assert torch.equal(vmap(seen, 1)(x.t().contiguous()), x * 2)
    torch.func.grad(lambda row: row.sum() * (1.0 if is_differentiated(row) else 0 / 0))(other)


def test_a_gradient_can_be_required_under_vmap() -> None:
    x = torch.ones(3, 2)

    def required(row: Tensor) -> Tensor:
        require_gradient(unwrapped(row), True)
        return row

    vmap(required)(x)
    assert x.requires_grad


def test_a_compiled_module_gives_its_own_module_back() -> None:
    module = torch.nn.Linear(1, 1)
    assert uncompiled(module) is module
    assert uncompiled(torch.compile(module, backend="eager")) is module  # type: ignore[arg-type]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_unhooked_step_is_the_step(name: str) -> None:
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(3)) for _ in range(2))
    optimizers = [build(name, [each], OPTIMIZERS[name].defaults) for each in (ours, theirs)]
    optimizers[0].register_step_pre_hook(lambda *_: pytest.fail("a hook was called"))
    for _ in range(3):
        theirs.grad = torch.randn(3)
        ours.grad = theirs.grad.clone()
        with torch.no_grad():
            torch_private.unhooked_step(optimizers[0])()
        optimizers[1].step()
    assert torch.equal(ours, theirs)
    assert not torch.equal(ours, torch.ones(3))


def test_tree_map_takes_several_trees() -> None:
    assert tree_map(lambda a, b: a + b, {"x": (1, 2)}, {"x": (10, 20)}) == {"x": (11, 22)}


def test_arguments_have_names_types_and_defaults() -> None:
    found = arguments(aten.add.Tensor)
    assert [(each.name, str(each.type)) for each in found] == [
        ("self", "Tensor"),
        ("other", "Tensor"),
        ("alpha", "number"),
    ]
    assert [each.has_default_value() for each in found] == [False, False, True]
    assert found[2].default_value == 1


def test_real_types_tell_dtypes_from_whole_numbers() -> None:
    types = {each.name: each.real_type for each in arguments(aten.sum.IntList_out)}
    assert {name: each.kind() for name, each in types.items()} == {
        "self": "TensorType",
        "dim": "OptionalType",
        "keepdim": "BoolType",
        "dtype": "OptionalType",
        "out": "TensorType",
    }
    assert types["dtype"].getElementType().kind() == "ScalarTypeType"
    assert types["dim"].getElementType().kind() == "ListType"
    assert types["dim"].getElementType().getElementType().kind() in ("IntType", "SymIntType")
    assert arguments(aten.add.out)[2].real_type.kind() == "NumberType"


def test_return_types() -> None:
    assert [each.kind() for each in return_types(aten.sort.values)] == ["TensorType", "TensorType"]
    (pieces,) = return_types(aten.unbind_copy.int)
    assert (pieces.kind(), pieces.getElementType().kind()) == ("ListType", "TensorType")
    assert return_types(aten.unbind_copy.int_out) == []


def test_arguments_say_what_a_call_writes_to() -> None:
    written = {each.name: (each.is_write, each.is_out) for each in arguments(aten.sort.values)}
    assert [name for name, marks in written.items() if marks == (True, True)] == ["values", "indices"]
    assert [each.is_write for each in arguments(aten.add_.Tensor)] == [True, False, False]
    assert not any(each.is_out for each in arguments(aten.add_.Tensor))


def test_is_mutable() -> None:
    assert is_mutable(aten.add_.Tensor)
    assert is_mutable(aten.add.out)
    assert not is_mutable(aten.add.Tensor)
    assert not is_mutable(aten.view.default)


def test_names_of_operators_and_overloads() -> None:
    assert [operator_name(each) for each in (aten.add.Tensor, aten.add_.Tensor, aten.clone.default)] == [
        "add",
        "add_",
        "clone",
    ]
    assert [overload_name(each) for each in (aten.add.Tensor, aten.add.out)] == ["Tensor", "out"]


def test_overloads_are_those_of_the_operator() -> None:
    found = overloads(aten.add.Tensor)
    assert {aten.add.Tensor, aten.add.out, aten.add.Scalar} <= set(found)
    assert {operator_name(each) for each in found} == {"add"}


def test_tree_functions_visit_tuples_lists_and_dicts() -> None:
    tree = {"a": (1, [torch.tensor(2.0)]), "b": None}
    assert [each for each in tree_leaves(tree) if isinstance(each, Tensor)] == [torch.tensor(2.0)]
    doubled = tree_map_only(Tensor, lambda each: 2 * each, tree)
    assert doubled == {"a": (1, [torch.tensor(4.0)]), "b": None}


def test_storage_id_is_that_of_a_storages_views() -> None:
    x = torch.zeros(4, 3)
    assert storage_id(x) == storage_id(x[2:].t()) == storage_id(x.detach().view(-1))
    assert storage_id(x) != storage_id(x.clone())
    empty = torch.zeros(0), torch.zeros(0)
    assert storage_id(empty[0]) != storage_id(empty[1]), "though both have the address 0"


def test_change_counts_count_changes_in_place() -> None:
    x, y = torch.zeros(3), torch.zeros(3)
    before = change_counts(x, y)
    x.add_(1)
    x[1:].mul_(2)
    assert change_counts(x, y) == (before[0] + 2, before[1])
    assert change_counts(x.exp(), y) == (0, before[1])


def test_change_counts_are_those_of_all_members_under_vmap() -> None:
    found: list[int] = []

    def body(own: Tensor) -> Tensor:
        own = own * 2
        for _ in range(2):
            found.extend(change_counts(own))
            own.add_(1)
        return own

    vmap(body)(torch.zeros(3, 2))
    vmap(vmap(body))(torch.zeros(3, 2, 2))
    assert found == [0, 1, 0, 1]


@pytest.mark.parametrize("reentrant", [False, True])
def test_capturable_leaves_out_checks_of_distributions_and_checkpoints(
    reentrant: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", True)  # compiling turns it off
    checkpoints = torch.utils.checkpoint
    calls: list[int] = []

    def computed(x: Tensor) -> Tensor:
        calls.append(1)
        return x.sin()

    def backward() -> int:
        calls.clear()
        checkpoints.checkpoint(
            computed, torch.ones(2, requires_grad=True), use_reentrant=reentrant
        ).sum().backward()
        return len(calls)

    with capturable():
        assert torch.distributions.Normal(torch.zeros(2), -torch.ones(2)).scale.sum() == -2
        assert backward() == 1
    with pytest.raises(ValueError, match="scale"):
        torch.distributions.Normal(torch.zeros(2), -torch.ones(2))
    assert backward() == 2


def test_every_name_is_tested_here() -> None:
    source = Path(__file__).read_text()
    tests = source[source.index("class Recorder") :]
    assert all(name in tests for name in torch_private.__all__)


# What follows reads the sources.

PACKAGE = Path(adamtune.__file__).parent
ADAPTER = PACKAGE / "engines" / "torch_private.py"
OF_NAMED_TUPLES = {"_fields", "_replace", "_asdict", "_make"}
OF_TORCH_ALONE = ("engines", "optimizers", "schedules", "tasks")
"""Packages that use no other library's private names: all that they do not define themselves are torch's."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def defined(tree: ast.AST) -> set[str]:
    """The names of the functions, classes, attributes and fields that a file defines."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and root(node) == "self":
            names.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def private_names(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """The private names that a file uses and of what: an imported module's, or an attribute of something."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((part, each.name) for each in node.names for part in each.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            module = str(node.module)
            parts = [*module.split("."), *(each.name for each in node.names)]
            yield from ((part, module) for part in parts)
        elif isinstance(node, ast.Attribute):
            yield node.attr, root(node)
        elif isinstance(node, ast.Call) and root(node.func) in {"getattr", "setattr", "hasattr"}:
            yield from ((str(each.value), "getattr") for each in node.args if isinstance(each, ast.Constant))


def uses_of_torch(path: Path, source: str) -> list[str]:
    """The private names of torch that a file uses."""
    tree = ast.parse(source)
    adapted = {name for name, _ in private_names(ast.parse(ADAPTER.read_text())) if is_private(name)}
    overridden = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    own = defined(tree) | OF_NAMED_TUPLES
    alone = path.relative_to(PACKAGE).parts[0] in OF_TORCH_ALONE
    found = {
        name
        for name, of in private_names(tree)
        if is_private(name)
        and (
            of.split(".")[0] == "torch" or ((name in adapted or alone) and name not in own and of != "ctypes")
        )
    }
    return sorted(found | ({"_should_skip_dynamo"} & overridden))


def test_one_file_uses_torchs_private_names() -> None:
    users = {path for path in PACKAGE.rglob("*.py") if uses_of_torch(path, path.read_text())}
    assert users == {ADAPTER}, {str(each): uses_of_torch(each, each.read_text()) for each in users}


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import torch._dynamo", "_dynamo"),
        ("from torch import _C", "_C"),
        ("from torch._ops import OpOverload", "_ops"),
        ("from torch.utils import _pytree", "_pytree"),
        ("import torch\nx = torch.nn.modules._functions.X", "_functions"),
        ("def f(kernel): return kernel._schema.arguments", "_schema"),
        ("def f(x): return x.untyped_storage()._cdata", "_cdata"),
        ("def f(x): return getattr(x, '_version')", "_version"),
        ("def f(optimizer): return optimizer._step_count", "_step_count"),
        ("class M:\n    def _should_skip_dynamo(self): return False", "_should_skip_dynamo"),
    ],
)
def test_the_reader_finds_private_names(source: str, name: str) -> None:
    assert name in uses_of_torch(PACKAGE / "engines" / "x.py", source)


def test_the_reader_leaves_own_private_names_alone() -> None:
    source = (
        "class A:\n    def __init__(self): self._x = 1\n    def f(self, other): return other._x + self._g()\n"
    )
    source += "    def _g(self): return 0\n"
    assert not uses_of_torch(PACKAGE / "engines" / "x.py", source)


def test_tensor_places_are_where_a_model_looks_its_tensors_up() -> None:
    model = nn.Sequential(nn.Linear(2, 3, bias=False), nn.BatchNorm1d(3))
    places = tensor_places(model)
    assert {id(each) for _, _, each in places} == {
        id(each) for each in (*model.parameters(), *model.buffers())
    }
    for own, name, tensor in places:
        own[name] = replaced = tensor.detach().clone()
        assert any(getattr(each, name, None) is replaced for each in model.children())
