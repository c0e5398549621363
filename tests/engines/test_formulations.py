"""Each formulation equals torch's own function for every member: values, and gradients of all inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import vmap

from adamtune.engines import formulations
from adamtune.engines.formulations import FORMULATIONS, Formulations

MEMBERS = 3
Function = Callable[..., Tensor]


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def numbers(high: int, *shape: int) -> Tensor:
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(9))


def assert_equals_torch(
    function: Function, shapes: Sequence[tuple[int, ...]], own: tuple[int, ...] | None = None
) -> None:
    """For inputs of these shapes (a member's), each shared or the members' own, in all combinations.

    Args:
        own: places of inputs of which at least one is the members' own (any, if it is left out).
    """
    for shared in range(2 ** len(shapes) - 1):
        dims = [None if shared >> place & 1 else 0 for place in range(len(shapes))]
        if own and all(dims[place] is None for place in own):
            continue
        inputs = [
            drawn(place, *(() if dim is None else (MEMBERS,)), *shape)
            for place, (dim, shape) in enumerate(zip(dims, shapes, strict=True))
        ]
        with Formulations():
            found = values_and_gradients(lambda *all_, dims=tuple(dims): vmap(function, dims)(*all_), inputs)
        expected = values_and_gradients(
            lambda *all_, dims=dims: torch.stack(
                [
                    function(*(x if d is None else x[m] for x, d in zip(all_, dims, strict=True)))
                    for m in range(MEMBERS)
                ]
            ),
            inputs,
        )
        assert expected[0].detach().abs().max() > 0
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-12)


def values_and_gradients(function: Function, inputs: list[Tensor]) -> list[Tensor]:
    leaves = [each.clone().requires_grad_() for each in inputs]
    values = function(*leaves)
    # A sum of squares would hide a gradient that is mixed up between members or positions.
    weights = torch.linspace(1, 2, values.numel()).view_as(values)
    return [values.detach(), *torch.autograd.grad((values * weights).sum(), leaves)]


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of torch's functions that a formulation fell back to, by dispatch to the real one."""
    calls: list[str] = []
    for name in ("_MembersLinear", "_MembersNormalise", "_MembersCrossEntropy", "_MembersConvolution"):
        real = getattr(formulations, name).forward

        def counted(*args: Any, name: str = name, real: Any = real, **kwargs: Any) -> Any:
            calls.append(name)
            return real(*args, **kwargs)

        monkeypatch.setattr(getattr(formulations, name), "forward", staticmethod(counted))
    return calls


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [(), (4,), (2, 4), (2, 3, 4)])
def test_linear(rows: tuple[int, ...], bias: bool, used: list[str]) -> None:
    shapes = [(*rows, 5), (3, 5)] + [(3,)] * bias
    assert_equals_torch(F.linear, shapes, own=(0, 1))
    assert "_MembersLinear" in used


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
    assert "_MembersNormalise" in used


def test_layer_norm_over_more_dimensions_is_torchs(used: list[str]) -> None:
    assert_equals_torch(lambda x: F.layer_norm(x, [4, 6]), [(2, 4, 6)])
    assert "_MembersNormalise" not in used


def test_layer_norm_takes_what_torch_takes() -> None:
    assert_equals_torch(lambda x: torch.layer_norm(x, [6], None, None, 1e-5, False), [(4, 6)])


@pytest.mark.parametrize("ignored", [0, 2, 7])
def test_cross_entropy(ignored: int, used: list[str]) -> None:
    """Of seven targets, some are not counted; where none is, both are NaN."""
    target = numbers(4, 7)
    target[:ignored] = -100
    if ignored < 7:
        assert_equals_torch(lambda logits: F.cross_entropy(logits, target), [(7, 4)])
    else:
        with Formulations():
            assert vmap(lambda logits: F.cross_entropy(logits, target))(drawn(0, MEMBERS, 7, 4)).isnan().all()
    assert "_MembersCrossEntropy" in used


def test_cross_entropy_with_another_index_to_ignore(used: list[str]) -> None:
    target = numbers(4, 7)
    assert (target == 2).any()
    assert_equals_torch(lambda logits: F.cross_entropy(logits, target, ignore_index=2), [(7, 4)])
    assert "_MembersCrossEntropy" in used


def test_cross_entropy_with_targets_of_each_member() -> None:
    logits, target = drawn(0, MEMBERS, 7, 4), numbers(4, MEMBERS, 7)
    with Formulations():
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
def test_cross_entropy_of_other_kinds_is_torchs(options: dict[str, Any], used: list[str]) -> None:
    target = numbers(4, 7)
    assert_equals_torch(lambda logits: F.cross_entropy(logits, target, **options), [(7, 4)])
    assert "_MembersCrossEntropy" not in used


def test_cross_entropy_of_probabilities_and_of_images_is_torchs(used: list[str]) -> None:
    target = numbers(4, 2, 3)
    assert_equals_torch(lambda x: F.cross_entropy(x, torch.softmax(x.detach(), -1)), [(7, 4)])
    assert_equals_torch(lambda x: F.cross_entropy(x, target), [(2, 4, 3)])
    assert "_MembersCrossEntropy" not in used


@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_cross_entropy_is_as_precise_as_its_logits(default: torch.dtype) -> None:
    """Whatever torch's default is: a seventh in float32 would be off by 1e-8."""
    logits, target = drawn(0, MEMBERS, 7, 4), numbers(4, 7)
    torch.set_default_dtype(default)
    with Formulations():
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


def test_attention_is_formulated_as_matrix_products() -> None:
    assert FORMULATIONS[F.scaled_dot_product_attention] is formulations.attention
    q, k, v = drawn(0, 3, 2, 4, 6).unbind(0)
    with torch.profiler.profile() as profile:
        formulations.attention(q, k, v, is_causal=True)
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
def test_attention_with_options_is_torchs(options: dict[str, Any]) -> None:
    assert_equals_torch(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **options), [(2, 2, 6), (2, 3, 6), (2, 3, 6)]
    )


KERNELS = [
    ((3, 3), 1),
    ((3, 3), 0),
    ((1, 1), 0),
    ((5, 5), 2),
    ((2, 3), (1, 2)),
    ((3, 1), (0, 0)),
    ((2, 2), 1),
]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kernel", "padding"), KERNELS, ids=str)
def test_convolution(
    kernel: tuple[int, int], padding: int | tuple[int, int], bias: bool, used: list[str]
) -> None:
    shapes = [(2, 3, 6, 7), (4, 3, *kernel)] + [(4,)] * bias
    assert_equals_torch(
        lambda x, weight, *rest: F.conv2d(x, weight, *rest, padding=padding), shapes, own=(0, 1)
    )
    assert "_MembersConvolution" in used


def test_convolutions_follow_each_other() -> None:
    """What one leaves in memory (channels last) is what the next one takes."""

    def twice(x: Tensor, first: Tensor, second: Tensor) -> Tensor:
        hidden = F.max_pool2d(F.conv2d(x, first, padding=1).relu(), 2)
        return F.conv2d(hidden, second, padding=1)

    assert_equals_torch(twice, [(2, 1, 8, 8), (3, 1, 3, 3), (2, 3, 3, 3)], own=(0, 1))


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 2},
        {"stride": (1, 2)},
        {"dilation": 2},
        {"padding": "same"},
        {"padding": "valid"},
        {"padding": 3},
        {"padding": (0, 3)},
    ],
    ids=str,
)
def test_other_convolutions_are_torchs(options: dict[str, Any], used: list[str]) -> None:
    assert_equals_torch(lambda x, weight: F.conv2d(x, weight, **options), [(2, 3, 6, 7), (4, 3, 3, 3)])
    assert "_MembersConvolution" not in used


def test_grouped_and_single_image_convolutions_are_torchs(used: list[str]) -> None:
    assert_equals_torch(lambda x, weight: F.conv2d(x, weight, groups=2), [(2, 4, 6, 7), (6, 2, 3, 3)])
    assert_equals_torch(F.conv2d, [(4, 6, 7), (6, 4, 3, 3)])
    assert "_MembersConvolution" not in used


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


PROJECTION, KERNEL = drawn(8, 3, 5).double(), drawn(8, 2, 1, 2, 2).double()
SHARED: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: F.linear(x, PROJECTION),
    "layer_norm": lambda x: F.layer_norm(x, (5,)),
    "conv2d": lambda x: F.conv2d(x[None, None], KERNEL),
    "cross_entropy": lambda x: F.cross_entropy(x, torch.tensor([0, 1, 2, 3])),
    "attention": lambda x: F.scaled_dot_product_attention(x, x, x),
}


@pytest.mark.parametrize("name", SHARED)
def test_inputs_that_all_members_share_are_computed_too(name: str) -> None:
    """The first layer of a model may have no parameters: a normalisation, or a fixed projection."""
    shared, scale = drawn(0, 4, 5), drawn(1, MEMBERS)
    with Formulations():
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


def test_outside_of_it_torch_is_as_it_was() -> None:
    x, weight = drawn(0, 4, 5), drawn(1, 3, 5)
    before = F.linear(x, weight)
    with Formulations():
        vmap(F.linear)(x.expand(2, 4, 5), weight.expand(2, 3, 5))
    assert torch.equal(F.linear(x, weight), before)
