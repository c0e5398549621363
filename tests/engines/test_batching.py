"""Each batching rule equals torch's own function for every member: values, and gradients of all inputs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import vmap

from adamtune.engines.batching import attention, image, linear, losses, mode, norm
from adamtune.engines.batching.mode import BatchingRules
from adamtune.engines.native import kernels
from adamtune.engines.native.loader import KERNELS
from adamtune.engines.population.capture import Capture
from tests.engines.rules import MEMBERS, Function, assert_equals_torch, drawn, values_and_gradients

pytestmark = pytest.mark.usefixtures("with_kernels")


def numbers(high: int, *shape: int) -> Tensor:
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(9))


MODULES = (attention, image, linear, losses, norm)


@pytest.fixture
def how(with_kernels: bool) -> set[str]:
    """What ``used`` should hold after a call of a batching rule that has a kernel."""
    return {"kernel" if with_kernels else "torch"}


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch, with_kernels: bool) -> list[str]:
    """ "kernel" or "torch" for each call of a batching rule, by how it was computed."""
    calls: list[str] = []
    for module in MODULES:
        for function in (each for each in vars(module).values() if _is_function(each, module)):

            def counted(*args: Any, of: str = function.__name__, real: Any = function.forward) -> Any:
                calls.append("kernel" if of.endswith("Kernel") else "torch")
                return real(*args)

            monkeypatch.setattr(function, "forward", staticmethod(counted))
    return calls


def _is_function(value: object, module: ModuleType) -> bool:
    return (
        isinstance(value, type)
        and issubclass(value, torch.autograd.Function)
        and value.__module__ == module.__name__
        and value is not attention._Unbind  # which has no kernel
    )


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [(), (4,), (2, 4), (2, 3, 4)])
def test_linear(rows: tuple[int, ...], bias: bool, used: list[str], how: set[str]) -> None:
    shapes = [(*rows, 5), (3, 5)] + [(3,)] * bias
    assert_equals_torch(F.linear, shapes, own=(0, 1))
    assert set(used) == how


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [(), (4,), (2, 4)])
def test_linear_to_a_single_number(rows: tuple[int, ...], bias: bool) -> None:
    assert_equals_torch(F.linear, [(*rows, 5), (1, 5)] + [(1,)] * bias, own=(0, 1))


def test_linear_of_a_transposed_input() -> None:
    assert_equals_torch(lambda x, weight: F.linear(x.t(), weight), [(5, 4), (3, 5)])


@pytest.mark.parametrize("affine", [0, 1, 2])
@pytest.mark.parametrize("function", [F.layer_norm, torch.layer_norm])
def test_layer_norm(function: Function, affine: int, used: list[str]) -> None:
    assert_equals_torch(
        lambda x, *rest: function(x, [6], *rest, *[None] * (2 - len(rest)), 1e-3),
        [(2, 4, 6)] + [(6,)] * affine,
        own=(0,),
    )
    assert used


def test_layer_norm_over_more_dimensions_is_left_to_torch(used: list[str]) -> None:
    assert_equals_torch(lambda x: F.layer_norm(x, [4, 6]), [(2, 4, 6)])
    assert not used


def test_layer_norm_takes_every_argument_of_torchs() -> None:
    assert_equals_torch(lambda x: torch.layer_norm(x, [6], None, None, 1e-5, False), [(4, 6)])


@pytest.mark.parametrize("shape", [(7,), (4, 5)])
def test_mse_loss(shape: tuple[int, ...], used: list[str], with_kernels: bool) -> None:
    if not with_kernels:
        pytest.skip("torch's own")
    assert_equals_torch(F.mse_loss, [shape, shape])
    assert set(used) == {"kernel"}


@pytest.mark.parametrize("settings", [{"reduction": "sum"}, {"reduction": "none"}, {"weight": torch.ones(7)}])
def test_other_squared_errors_are_left_to_torch(settings: dict[str, Any], used: list[str]) -> None:
    x, y = drawn(0, MEMBERS, 7), drawn(1, MEMBERS, 7)
    with BatchingRules():
        found = vmap(lambda *both: F.mse_loss(*both, **settings))(x, y)
    expected = [F.mse_loss(*both, **settings) for both in zip(x, y, strict=True)]
    torch.testing.assert_close(found, torch.stack(expected))
    assert not used


@pytest.mark.parametrize("ignored", [0, 2, 7])
def test_cross_entropy(ignored: int, used: list[str], how: set[str]) -> None:
    """The first ``ignored`` of seven targets do not count. If none counts, the loss is NaN."""
    target = numbers(4, 7)
    target[:ignored] = -100
    if ignored < 7:
        assert_equals_torch(lambda logits: F.cross_entropy(logits, target), [(7, 4)])
    else:
        with BatchingRules():
            assert vmap(lambda logits: F.cross_entropy(logits, target))(drawn(0, MEMBERS, 7, 4)).isnan().all()
    assert set(used) == how


def test_cross_entropy_with_another_index_to_ignore(used: list[str]) -> None:
    target = numbers(4, 7)
    assert (target == 2).any()
    assert_equals_torch(lambda logits: F.cross_entropy(logits, target, ignore_index=2), [(7, 4)])
    assert used


def test_cross_entropy_with_targets_of_each_member() -> None:
    logits, target = drawn(0, MEMBERS, 7, 4), numbers(4, MEMBERS, 7)
    with BatchingRules():
        found = vmap(F.cross_entropy)(logits, target)
    torch.testing.assert_close(
        found, torch.stack([F.cross_entropy(*each) for each in zip(logits, target, strict=True)])
    )


def test_cross_entropy_of_large_logits() -> None:
    target = numbers(4, 7)
    assert_equals_torch(lambda logits: F.cross_entropy(1e4 * logits, target), [(7, 4)])


@pytest.mark.parametrize(
    "options",
    [
        {"label_smoothing": 0.1},
        {"reduction": "sum"},
        {"reduction": "none"},
        {"weight": torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)},
    ],
    ids=str,
)
def test_cross_entropy_with_options_is_left_to_torch(options: dict[str, Any], used: list[str]) -> None:
    target = numbers(4, 7)
    assert_equals_torch(lambda logits: F.cross_entropy(logits, target, **options), [(7, 4)])
    assert not used


def test_cross_entropy_of_probabilities_and_of_images_is_left_to_torch(used: list[str]) -> None:
    target = numbers(4, 2, 3)
    assert_equals_torch(lambda x: F.cross_entropy(x, torch.softmax(x.detach(), -1)), [(7, 4)])
    assert_equals_torch(lambda x: F.cross_entropy(x, target), [(2, 4, 3)])
    assert not used


@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_cross_entropy_has_the_precision_of_its_logits(default: torch.dtype) -> None:
    """And not that of torch's default dtype: in float32, a seventh has an error of 1e-8."""
    logits, target = drawn(0, MEMBERS, 7, 4), numbers(4, 7)
    torch.set_default_dtype(default)
    with BatchingRules():
        found = vmap(lambda own: F.cross_entropy(own, target))(logits)
    expected = torch.stack([F.cross_entropy(own, target) for own in logits])
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("lengths", [(4, 4), (3, 5), (5, 3)])
def test_attention(causal: bool, lengths: tuple[int, int]) -> None:
    queries, keys = lengths
    assert_equals_torch(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=causal),
        [(2, 2, queries, 6), (2, 2, keys, 6), (2, 2, keys, 6)],
    )


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_attention_with_a_scale() -> None:
    assert_equals_torch(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3), [(2, 2, 4, 6)] * 3
    )


def test_attention_with_scale_0_weighs_all_values_equally() -> None:
    assert_equals_torch(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, scale=0.0) + 0 * (q + k), [(2, 2, 4, 6)] * 3
    )


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("length", [1, 7, 8, 21, 33])
@pytest.mark.parametrize("width", [3, 8, 24])
def test_attention_kernel_at_many_lengths_and_widths(
    causal: bool, length: int, width: int, used: list[str], with_kernels: bool
) -> None:
    """Queries, keys and values are slices of one linear layer's result, as in a model."""

    def heads(x: Tensor, by: Tensor) -> Tensor:
        query, key, value = (x * by).unflatten(-1, (3, 2, width)).movedim(1, 3).unbind(1)
        return F.scaled_dot_product_attention(query, key, value, is_causal=causal).transpose(1, 2).flatten(2)

    assert_equals_torch(heads, [(2, length, 6 * width), (2, length, 6 * width)])
    assert set(used) == ({"kernel"} if with_kernels else set())


def test_attention_with_more_scores_than_fit_the_cache_does_not_use_the_kernel(
    used: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "FITTING", 24)
    assert_equals_torch(F.scaled_dot_product_attention, [(2, 2, 5, 3)] * 3)
    assert not used


def test_attention_of_infinite_scores_is_nan() -> None:
    query = torch.full((MEMBERS, 1, 1, 4, 2), torch.inf)
    with BatchingRules():
        found = vmap(F.scaled_dot_product_attention)(query, query, query)
    assert found.isnan().all()


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("function", [torch.unbind, torch.Tensor.unbind])
def test_unbind(function: Function, dim: int) -> None:
    def halves(x: Tensor) -> Tensor:
        first, *_, last = function(x, dim)
        return first * last.exp()

    assert_equals_torch(halves, [(2, 2, 2)])


def test_attention_of_slices_in_another_order() -> None:
    def attended(x: Tensor) -> Tensor:
        value, key, query = x.unbind(0)
        return F.scaled_dot_product_attention(query, key, value)

    assert_equals_torch(attended, [(3, 2, 2, 5, 4)])


def test_gradients_that_are_slices_of_one_tensor_are_not_copied(with_kernels: bool) -> None:
    """Attention writes the gradients of queries, keys and values as slices of their layer's gradient."""

    def names(split: Function) -> list[str]:
        def loss(x: Tensor, weight: Tensor) -> Tensor:
            mixed = F.scaled_dot_product_attention(*split(F.linear(x, weight)))
            return mixed.square().sum()

        def gradient(x: Tensor, weight: Tensor) -> Tensor:
            leaf = weight.detach().requires_grad_()
            return torch.autograd.grad(vmap(loss)(x, leaf).sum(), leaf)[0]

        with BatchingRules(), torch.enable_grad():
            capture = Capture(gradient, drawn(0, MEMBERS, 2, 5, 4), drawn(1, MEMBERS, 24, 4))
        return [call.kernel.__name__ for call in capture.program]

    together = names(lambda y: y.unflatten(-1, (3, 2, 4)).movedim(1, 3).unbind(1))
    apart = names(lambda y: [each.unflatten(-1, (2, 4)).transpose(1, 2) for each in y.split(8, -1)])
    if with_kernels:
        assert not {"stack.out", "copy_.default"} & set(together)
        assert "cat.out" in apart


@pytest.mark.parametrize("rows", [(6,), (2, 3), ()])
def test_embedding(rows: tuple[int, ...], used: list[str], with_kernels: bool) -> None:
    index, own = numbers(5, *rows), numbers(5, MEMBERS, *rows)
    assert_equals_torch(lambda weight: F.embedding(index, weight), [(5, 4)])
    with BatchingRules():
        found = vmap(F.embedding)(own, weights := drawn(0, MEMBERS, 5, 4))
    assert torch.equal(found, torch.stack([weights[m][own[m]] for m in range(MEMBERS)]))
    assert set(used) == ({"kernel"} if with_kernels else set())


def test_an_embeddings_padding_row_has_no_gradient_whatever_the_batches() -> None:
    """Under ``vmap`` alone, torch leaves the row a gradient for all members but the first."""
    own, weights = numbers(5, MEMBERS, 6), drawn(0, MEMBERS, 5, 4)
    own[:, 0] = 3
    assert_equals_torch(lambda weight: F.embedding(own[0], weight, padding_idx=-2), [(5, 4)])
    leaves = weights.clone().requires_grad_()
    with BatchingRules():
        found = vmap(lambda index, weight: F.embedding(index, weight, padding_idx=3))(own, leaves)
    (gradient,) = torch.autograd.grad(found.square().sum(), leaves)
    for member in range(MEMBERS):
        alone = weights[member].clone().requires_grad_()
        F.embedding(own[member], alone, padding_idx=3).square().sum().backward()
        torch.testing.assert_close(gradient[member], alone.grad)
        assert not gradient[member, 3].any()


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_embedding_with_gradients_by_frequency_is_left_to_torch(used: list[str]) -> None:
    index = torch.tensor([0, 1, 1, 3])
    with suppress(RuntimeError):
        assert_equals_torch(lambda weight: F.embedding(index, weight, scale_grad_by_freq=True), [(5, 4)])
    assert not used


@pytest.mark.parametrize("norm_type", [1.0, 2.0])
def test_embedding_shortens_the_rows_that_are_used(norm_type: float) -> None:
    index, weights = torch.tensor([0, 1, 1, 3]), drawn(0, MEMBERS, 5, 4)
    expected = weights.clone()
    rows = [F.embedding(index, each, max_norm=0.5, norm_type=norm_type) for each in expected]
    with BatchingRules():
        found = vmap(lambda each: F.embedding(index, each, max_norm=0.5, norm_type=norm_type))(weights)
    torch.testing.assert_close(found, torch.stack(rows))
    torch.testing.assert_close(weights, expected)
    assert not torch.equal(weights, drawn(0, MEMBERS, 5, 4))


@pytest.mark.parametrize("window", [2, (2, 2), (1, 3), 3])
@pytest.mark.parametrize("shape", [(2, 3, 6, 6), (2, 17, 7, 8)], ids=str)
def test_max_pool(window: Any, shape: tuple[int, ...], used: list[str], with_kernels: bool) -> None:
    assert_equals_torch(lambda x: F.max_pool2d(x, window), [shape])
    assert_equals_torch(lambda x: torch.max_pool2d(x, window), [shape])
    assert_equals_torch(lambda x: F.max_pool2d(x.relu(), window, window), [shape])
    assert set(used) == ({"kernel"} if with_kernels else set())


def test_max_pool_of_nan_is_nan() -> None:
    x = drawn(0, MEMBERS, 1, 2, 4, 4)
    x[1, 0, 1, 2, 3] = torch.nan
    with BatchingRules():
        found = vmap(lambda own: F.max_pool2d(own, 2))(x)
    torch.testing.assert_close(found, F.max_pool2d(x.flatten(0, 1), 2).view(found.shape), equal_nan=True)


@pytest.mark.parametrize(
    "options",
    [{"stride": 1}, {"padding": 1}, {"dilation": 2}, {"ceil_mode": True, "stride": 3}],
    ids=str,
)
def test_max_pool_with_options_is_left_to_torch(options: dict[str, Any], used: list[str]) -> None:
    assert_equals_torch(lambda x: F.max_pool2d(x, 2, **options), [(2, 3, 7, 7)])
    assert not used


@pytest.mark.parametrize("size", [1, (1, 1), 2, (3, None)], ids=str)
def test_adaptive_average_pool(size: Any) -> None:
    assert_equals_torch(lambda x: F.adaptive_avg_pool2d(x, size), [(2, 3, 6, 6)])
    assert_equals_torch(lambda x: F.adaptive_avg_pool2d(x, size), [(3, 6, 6)])


def test_adaptive_average_pool_of_images_with_channels_last() -> None:
    def pooled(x: Tensor, weight: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(F.conv2d(x, weight, padding=1), 1)

    assert_equals_torch(pooled, [(2, 3, 6, 6), (4, 3, 3, 3)], own=(0, 1))


def test_attention_is_computed_by_matrix_products() -> None:
    assert mode.RULES[F.scaled_dot_product_attention] is attention.attention
    q, k, v = drawn(0, 3, 2, 4, 6).unbind(0)
    with torch.profiler.profile() as profile:
        attention.attention(q, k, v, is_causal=True)
    assert not any("scaled_dot_product" in each.key for each in profile.key_averages())


@pytest.mark.parametrize(
    "options",
    [
        {"attn_mask": torch.tensor([[True, False, True], [True, True, False]])},
        {"attn_mask": torch.tensor([[0.0, 1.0, -1.0], [0.5, 0.0, 2.0]], dtype=torch.float64)},
        {"scale": 0.3},
    ],
    ids=["boolean mask", "additive mask", "scale"],
)
@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_attention_with_options_is_left_to_torch(options: dict[str, Any]) -> None:
    assert_equals_torch(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **options), [(2, 2, 6), (2, 3, 6), (2, 3, 6)]
    )


def test_the_c_file_numbers_activations_as_python_does() -> None:
    names = kernels.ACTIVATIONS
    assert (
        f"enum {{ {', '.join(name.upper() for name in names)} }};"
        in KERNELS.with_name("common.h").read_text()
    )
    assert list(names.values()) == list(range(len(names)))


ACTIVATIONS: list[Function] = [F.relu, torch.relu, torch.Tensor.relu, F.gelu]


@pytest.mark.parametrize("options", [{}, {"alpha": 0.5}, {"beta": 2.0}], ids=str)
@pytest.mark.parametrize("added", [(3,), (4, 3), (1, 3)], ids=str)
def test_addmm(added: tuple[int, ...], options: dict[str, float]) -> None:
    assert_equals_torch(
        lambda bias, x, weight: torch.addmm(bias, x, weight, **options), [added, (4, 5), (5, 3)], own=(1, 2)
    )


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=["F.relu", "torch.relu", "Tensor.relu", "F.gelu"])
@pytest.mark.parametrize("bias", [True, False])
def test_an_activation_after_a_layer(activation: Function, bias: bool) -> None:
    assert_equals_torch(
        lambda *given: activation(F.linear(*given)), [(2, 4, 5), (3, 5)] + [(3,)] * bias, own=(0, 1)
    )
    assert_equals_torch(
        lambda *given: activation(F.conv2d(*given)), [(2, 3, 6, 7), (4, 3, 2, 3)] + [(4,)] * bias, own=(0, 1)
    )


def test_a_layer_and_its_activation_are_one_kernel_call(with_kernels: bool) -> None:
    """The call of the layer without activation is left out unless something else reads its result."""
    weight = drawn(1, MEMBERS, 3, 5)

    def names(function: Function) -> list[str]:
        x = drawn(0, MEMBERS, 4, 5)
        with torch.no_grad(), BatchingRules():
            return [call.kernel.__name__ for call in Capture(lambda x: vmap(function)(x, weight), x).program]

    with_relu = names(lambda x, weight: F.relu(F.linear(x, weight)))
    assert (with_relu == ["linear.out"]) == with_kernels
    both = names(lambda x, weight: (y := F.linear(x, weight)) - F.relu(y))
    assert both.count("linear.out") == (2 if with_kernels else 0)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=["F.relu", "torch.relu", "Tensor.relu", "F.gelu"])
def test_an_activation_after_a_change_in_place_uses_the_changed_tensors(activation: Function) -> None:
    def result_changed(x: Tensor, weight: Tensor) -> Tensor:
        y = F.linear(x, weight)
        y.add_(1)
        return activation(y)

    def input_changed(x: Tensor, weight: Tensor) -> Tensor:
        z = x.mul(1)
        y = F.linear(z, weight)
        z.mul_(2)
        return activation(y)

    assert_equals_torch(result_changed, [(4, 5), (3, 5)])
    x, weight = drawn(0, MEMBERS, 4, 5), drawn(1, MEMBERS, 3, 5)
    with BatchingRules():
        found = vmap(input_changed)(x, weight)
    torch.testing.assert_close(found, torch.stack([activation(x[m] @ weight[m].t()) for m in range(MEMBERS)]))


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=["F.relu", "torch.relu", "Tensor.relu", "F.gelu"])
def test_an_activation_of_a_layer_computed_under_no_grad_has_no_gradient(activation: Function) -> None:
    """For example a target that a loss computes from the model under ``no_grad``."""

    def fixed(x: Tensor, weight: Tensor) -> Tensor:
        with torch.no_grad():
            y = F.linear(x, weight)
        return activation(y) + 0 * (x.sum() + weight.sum())

    assert_equals_torch(fixed, [(4, 5), (3, 5)])


def test_activations_without_a_layer_or_with_options_are_left_to_torch() -> None:
    assert_equals_torch(F.relu, [(4, 5)])
    assert_equals_torch(F.gelu, [(4, 5)])
    assert_equals_torch(lambda x, weight: F.gelu(F.linear(x, weight), approximate="tanh"), [(4, 5), (3, 5)])
    assert_equals_torch(lambda x, weight: F.relu(F.linear(x, weight), inplace=True), [(4, 5), (3, 5)])


IN_SINGLE: dict[str, tuple[Function, list[tuple[int, ...]]]] = {
    "linear": (lambda x, w, b: F.relu(F.linear(x, w, b)), [(300, 40), (130, 40), (130,)]),
    "gelu": (lambda x, w, b: F.gelu(F.linear(x, w, b)), [(300, 40), (130, 40), (130,)]),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (40,), w, b), [(30, 40), (40,), (40,)]),
    "cross_entropy": (lambda x: F.cross_entropy(30 * x, torch.arange(50) % 37), [(50, 37)]),
    "attention": (lambda *qkv: F.scaled_dot_product_attention(*qkv, is_causal=True), [(2, 3, 37, 20)] * 3),
    "conv2d": (lambda x, w, b: F.conv2d(x, w, b, padding=1), [(20, 8, 12, 11), (16, 8, 3, 3), (16,)]),
    "max_pool2d": (lambda x: F.max_pool2d(x, 2), [(3, 20, 8, 9)]),
}


@pytest.mark.parametrize("name", IN_SINGLE)
def test_float32_inputs_of_several_blocks(name: str) -> None:
    """Results are within a few roundings of torch's in float64."""
    function, shapes = IN_SINGLE[name]
    inputs = [drawn(place, MEMBERS, *shape) for place, shape in enumerate(shapes)]
    with BatchingRules():
        found = values_and_gradients(vmap(function), [each.float() for each in inputs])
    expected = values_and_gradients(
        lambda *all_: torch.stack([function(*own) for own in zip(*all_, strict=True)]), inputs
    )
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == torch.float32
        scale = float(theirs.detach().abs().max())
        torch.testing.assert_close(ours.double(), theirs, rtol=2e-5, atol=2e-6 * scale)


CONVOLUTIONS = [
    ((3, 3), 1),
    ((3, 3), 0),
    ((1, 1), 0),
    ((5, 5), 2),
    ((2, 3), (1, 2)),
    ((3, 1), (0, 0)),
    ((2, 2), 1),
]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kernel", "padding"), CONVOLUTIONS, ids=str)
def test_convolution(
    kernel: tuple[int, int], padding: int | tuple[int, int], bias: bool, used: list[str], how: set[str]
) -> None:
    shapes = [(2, 3, 6, 7), (4, 3, *kernel)] + [(4,)] * bias
    assert_equals_torch(
        lambda x, weight, *rest: F.conv2d(x, weight, *rest, padding=padding), shapes, own=(0, 1)
    )
    assert set(used) == how


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kernel", "padding"), CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("stride", [2, (1, 2), (3, 1), 4], ids=str)
def test_convolution_with_strides(
    kernel: tuple[int, int],
    padding: int | tuple[int, int],
    stride: int | tuple[int, int],
    bias: bool,
    used: list[str],
    with_kernels: bool,
) -> None:
    """The last rows and columns of an image may be in no window."""
    assert_equals_torch(
        lambda x, weight, *rest: F.conv2d(x, weight, *rest, stride=stride, padding=padding),
        [(2, 3, 6, 7), (4, 3, *kernel)] + [(4,)] * bias,
        own=(0, 1),
    )
    assert set(used) == ({"kernel"} if with_kernels else set())


SCALE, WORDS = drawn(3, 5).double(), numbers(5, 4)
IN_PLACE: dict[str, tuple[Function, list[tuple[int, ...]]]] = {
    "linear": (F.linear, [(4, 5), (3, 5)]),
    "linear, one number": (F.linear, [(2, 4, 5), (1, 5)]),
    "conv2d": (F.conv2d, [(2, 3, 6, 7), (4, 3, 3, 3)]),
    "max_pool2d": (lambda x: F.max_pool2d(x, 2), [(2, 3, 6, 7)]),
    "layer_norm": (lambda x: F.layer_norm(x, (5,), SCALE, SCALE), [(2, 4, 5)]),
    "batch_norm": (lambda x: F.batch_norm(x, None, None, training=True), [(2, 3, 6, 7)]),
    "group_norm": (lambda x: F.group_norm(x, 2), [(2, 4, 6, 7)]),
    "embedding": (lambda x: F.embedding(WORDS, x), [(5, 3)]),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_results_of_rules_may_be_changed_in_place(name: str) -> None:
    """As by ``nn.ReLU(inplace=True)``: autograd refuses it for a view that was made inside a function."""
    function, shapes = IN_PLACE[name]
    assert_equals_torch(lambda *given: F.relu(function(*given), inplace=True), shapes)
    assert_equals_torch(lambda *given: function(*given).mul_(2), shapes)


def test_a_convolution_takes_the_memory_layout_of_another_ones_result() -> None:
    """Results have their channels last in memory."""

    def twice(x: Tensor, first: Tensor, second: Tensor) -> Tensor:
        hidden = F.max_pool2d(F.conv2d(x, first, padding=1).relu(), 2)
        return F.conv2d(hidden, second, padding=1)

    assert_equals_torch(twice, [(2, 1, 8, 8), (3, 1, 3, 3), (2, 3, 3, 3)], own=(0, 1))


@pytest.mark.parametrize(
    "options",
    [
        {"dilation": 2},
        {"padding": "same"},
        {"padding": "valid"},
        {"padding": 3},
        {"padding": (0, 3)},
    ],
    ids=str,
)
def test_convolutions_with_options_are_left_to_torch(options: dict[str, Any], used: list[str]) -> None:
    assert_equals_torch(lambda x, weight: F.conv2d(x, weight, **options), [(2, 3, 6, 7), (4, 3, 3, 3)])
    assert not used


def test_grouped_and_single_image_convolutions_are_left_to_torch(used: list[str]) -> None:
    assert_equals_torch(lambda x, weight: F.conv2d(x, weight, groups=2), [(2, 4, 6, 7), (6, 2, 3, 3)])
    assert_equals_torch(F.conv2d, [(4, 6, 7), (6, 4, 3, 3)])
    assert not used


CALLS: dict[str, tuple[Function, list[tuple[int, ...]]]] = {
    "linear": (lambda x, weight: F.linear(input=x, weight=weight), [(4, 5), (3, 5)]),
    "conv2d": (lambda x, weight: F.conv2d(input=x, weight=weight), [(2, 3, 6, 7), (4, 3, 3, 3)]),
    "layer_norm": (lambda x: F.layer_norm(input=x, normalized_shape=(5,)), [(4, 5)]),
    "torch.layer_norm": (lambda x: torch.layer_norm(input=x, normalized_shape=[5]), [(4, 5)]),
    "cross_entropy": (lambda x: F.cross_entropy(input=x, target=torch.tensor([0, 2])), [(2, 3)]),
    "attention": (
        lambda q, k, v: F.scaled_dot_product_attention(query=q, key=k, value=v),
        [(4, 6), (4, 6), (4, 6)],
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_arguments_may_be_given_by_torchs_names(name: str) -> None:
    function, shapes = CALLS[name]
    assert_equals_torch(function, shapes)


@pytest.mark.parametrize("bias", [(1,), (4, 3)], ids=str)
def test_linear_with_a_bias_that_is_broadcast(bias: tuple[int, ...]) -> None:
    assert_equals_torch(F.linear, [(4, 5), (3, 5), bias])


def test_linear_with_a_weight_of_one_dimension() -> None:
    assert_equals_torch(F.linear, [(4, 5), (5,)])


def test_a_convolution_of_no_images_has_no_gradient() -> None:
    inputs = [drawn(0, MEMBERS, 0, 3, 6, 6), drawn(1, MEMBERS, 4, 3, 3, 3), drawn(2, MEMBERS, 4)]
    with BatchingRules():
        _, *gradients = values_and_gradients(vmap(F.conv2d), inputs)
    assert not any(each.any() for each in gradients)


single, double = torch.float32, torch.float64
UNFITTING: dict[str, tuple[Function, list[tuple[int, ...]], tuple[torch.dtype, ...]]] = {
    "linear, narrow": (F.linear, [(4, 5), (3, 4)], ()),
    "linear, wide": (F.linear, [(4, 5), (3, 6)], ()),
    "linear, bias": (F.linear, [(4, 5), (3, 5), (2,)], ()),
    "linear, precision": (F.linear, [(4, 5), (3, 5)], (double, single)),
    "conv2d, channels": (F.conv2d, [(2, 3, 6, 6), (4, 2, 3, 3)], ()),
    "conv2d, bias": (F.conv2d, [(2, 3, 6, 6), (4, 3, 3, 3), (3,)], ()),
    "conv2d, as small": (F.conv2d, [(2, 3, 2, 6), (4, 3, 3, 3)], ()),
    "conv2d, smaller": (F.conv2d, [(2, 3, 2, 2), (4, 3, 5, 5)], ()),
    "conv2d, padding": (lambda x, w: F.conv2d(x, w, padding=-1), [(2, 3, 6, 6), (4, 3, 3, 3)], ()),
    "conv2d, precision": (F.conv2d, [(2, 3, 6, 6), (4, 3, 3, 3)], (double, single)),
    "layer_norm, shape": (lambda x, *own: F.layer_norm(x, (3,), *own), [(4, 6), (3,), (3,)], ()),
    "layer_norm, weight": (lambda x, *own: F.layer_norm(x, (6,), *own), [(4, 6), (1,), (1,)], ()),
    "cross_entropy, targets": (lambda x: F.cross_entropy(x, numbers(3, 2)), [(4, 3)], ()),
    "cross_entropy, kind": (lambda x: F.cross_entropy(x, numbers(3, 4).int()), [(4, 3)], ()),
    "cross_entropy, classes": (lambda x: F.cross_entropy(x, numbers(30, 4)), [(4, 3)], ()),
    "cross_entropy, negative": (lambda x: F.cross_entropy(x, numbers(3, 4) - 3), [(4, 3)], ()),
    "embedding, index": (lambda x: F.embedding(numbers(90, 4), x), [(5, 3)], ()),
    "embedding, negative": (lambda x: F.embedding(numbers(5, 4) - 5, x), [(5, 3)], ()),
    "max_pool2d": (lambda x: F.max_pool2d(x, 5), [(2, 3, 4, 6)], ()),
    "attention": (F.scaled_dot_product_attention, [(2, 2, 3, 4)] * 3, (double, single, double)),
}


@pytest.mark.parametrize("name", UNFITTING)
def test_arguments_that_do_not_fit_together_are_refused(name: str) -> None:
    """With an error, as by torch; a kernel would read and write beyond its memory."""
    function, shapes, precisions = UNFITTING[name]
    inputs = [
        drawn(place, MEMBERS, *shape).to(precision)
        for place, (shape, precision) in enumerate(
            zip(shapes, precisions or [double] * len(shapes), strict=True)
        )
    ]
    with BatchingRules(), pytest.raises((RuntimeError, IndexError)):
        vmap(function)(*inputs)


@pytest.mark.parametrize("name", ["cross_entropy", "embedding"])
def test_an_index_out_of_range_is_refused_at_each_replay(name: str, with_kernels: bool) -> None:
    if name == "embedding" and not with_kernels:
        pytest.skip("torch looks it up in the next member's table")
    values, index = drawn(0, MEMBERS, 4, 3), numbers(3, MEMBERS, 4)
    function = {"cross_entropy": F.cross_entropy, "embedding": lambda x, index: F.embedding(index, x)}[name]
    with torch.no_grad(), BatchingRules():
        capture = Capture(vmap(function), values, index)
    with torch.no_grad():
        capture.replay()
        index[1, 2] = 4
        with pytest.raises((RuntimeError, IndexError)):
            capture.replay()


PROJECTION, KERNEL = drawn(8, 3, 5).double(), drawn(8, 2, 1, 2, 2).double()
SHARED: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: F.linear(x, PROJECTION),
    "layer_norm": lambda x: F.layer_norm(x, (5,)),
    "conv2d": lambda x: F.conv2d(x[None, None], KERNEL),
    "cross_entropy": lambda x: F.cross_entropy(x, torch.tensor([0, 1, 2, 3])),
    "attention": lambda x: F.scaled_dot_product_attention(x, x, x),
}


@pytest.mark.parametrize("name", SHARED)
def test_rules_take_inputs_that_all_members_share(name: str) -> None:
    """The first layer of a model may have no parameters: a normalisation, or a fixed projection."""
    shared, scale = drawn(0, 4, 5), drawn(1, MEMBERS)
    with BatchingRules():
        found = vmap(lambda own: SHARED[name](shared) * own)(scale)
    expected = torch.stack([SHARED[name](shared) * own for own in scale])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_second_derivatives_are_right_or_refused() -> None:
    """A loss may hold a derivative of the model, such as a gradient penalty."""

    def penalty(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
        slope = torch.func.grad(lambda z: F.layer_norm(F.linear(z, weight), (3,), scale).tanh().sum())(x)
        return (slope**2).sum()

    with suppress(RuntimeError):
        assert_equals_torch(penalty, [(4, 5), (3, 5), (3,)])


def test_torch_functions_are_unchanged_outside_the_mode() -> None:
    x, weight = drawn(0, 4, 5), drawn(1, 3, 5)
    before = F.linear(x, weight)
    with BatchingRules():
        vmap(F.linear)(x.expand(2, 4, 5), weight.expand(2, 3, 5))
    assert torch.equal(F.linear(x, weight), before)
