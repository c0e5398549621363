"""Models unlike those of the reference tasks: both engines train them, or the plan says why one cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adamtune.engines.base import Member
from adamtune.tasks.base import Model

from .models import FEATURES, Calls, Toy
from .training import (
    Make,
    alone,
    assert_all_differ,
    assert_close,
    copied,
    curve,
    finish,
    initial_parameters,
    member,
    population,
    sequential,
    some,
    tensors,
)

Build = Callable[[], nn.Module]


def head(width: int = FEATURES) -> nn.Module:
    return nn.Linear(width, 1)


def tied() -> nn.Module:
    first, second = nn.Linear(FEATURES, FEATURES), nn.Linear(FEATURES, FEATURES)
    second.weight = first.weight
    return nn.Sequential(first, nn.Tanh(), second, nn.Tanh(), head())


def frozen() -> nn.Module:
    model = nn.Sequential(nn.Linear(FEATURES, 5), nn.Tanh(), head(5))
    model[0].requires_grad_(False)
    return model


def unused() -> nn.Module:
    return Calls(lambda self, x: self.head(x), head=head(), idle=head())


def image(self: Any, x: Tensor) -> Tensor:
    return self.head(self.conv(x.view(-1, 1, 2, 3)).relu().flatten(1))


def attend(self: Any, x: Tensor) -> Tensor:
    tokens = x.unflatten(-1, (3, 2))
    return self.head(self.attention(tokens, tokens, tokens, need_weights=False)[0].flatten(1))


MODELS: dict[str, Build] = {
    "one parameter": lambda: Calls(
        lambda self, x: x[:, :1] * self.slope, slope=nn.Parameter(torch.tensor(0.5))
    ),
    "tied weights": tied,
    "layer norm first": lambda: nn.Sequential(nn.LayerNorm(FEATURES), head()),
    "a fixed projection first": lambda: Calls(
        lambda self, x: self.head(F.linear(x, self.projection)),
        head=head(3),
        projection=torch.linspace(-1, 1, 3 * FEATURES).view(3, FEATURES),
    ),
    "group norm": lambda: nn.Sequential(nn.Linear(FEATURES, 4), nn.GroupNorm(2, 4), head(4)),
    "RMS norm": lambda: nn.Sequential(nn.Linear(FEATURES, 4), nn.RMSNorm(4), head(4)),
    "batch norm without statistics": lambda: nn.Sequential(
        nn.Linear(FEATURES, 4), nn.BatchNorm1d(4, track_running_stats=False), head(4)
    ),
    "strided convolution": lambda: Calls(image, conv=nn.Conv2d(1, 4, (2, 2), stride=(1, 2)), head=head(4)),
    "grouped convolution": lambda: Calls(
        lambda self, x: self.head(self.conv(x.view(-1, 2, 1, 3)).flatten(1)),
        conv=nn.Conv2d(2, 4, (1, 3), groups=2),
        head=head(4),
    ),
    "convolution in one dimension": lambda: Calls(
        lambda self, x: self.head(self.conv(x[:, None]).amax(-1)), conv=nn.Conv1d(1, 4, 3), head=head(4)
    ),
    "embedding": lambda: Calls(
        lambda self, x: self.head(self.table((x[:, 0] > 0).long())), table=nn.Embedding(2, 4), head=head(4)
    ),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_both_engines_have_the_same_results(name: str) -> None:
    task = Toy(MODELS[name])
    members = [member(task, trial, "adamw", "cosine", lr=0.02 * (trial + 1)) for trial in range(3)]
    found = finish(population(3), members)
    assert_all_differ([curve(each) for each in found.values()])
    for each in members:
        assert_close(curve(found[each]), alone(each))


def by_index(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
    """The negative log-likelihood of the right class, selected by its index."""
    return -model(inputs).log_softmax(-1)[torch.arange(len(inputs)), (target > 0).long()].mean()


def by_name(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(input=model(inputs), target=(target > 0).long())


def total(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
    return (model(inputs)[:, 0] - target).square().float().sum(dtype=torch.float64)


@pytest.mark.parametrize("measure", [by_index, by_name, total])
def test_both_engines_have_the_same_results_with_any_loss(measure: Callable[..., Tensor]) -> None:
    members = some(Toy(lambda: nn.Linear(FEATURES, 3), measure), 3)
    found = finish(population(3), members)
    for each in members:
        assert_close(curve(found[each]), alone(each), tolerance=1e-6)


@pytest.mark.parametrize("make", [population, sequential])
def test_weights_that_are_not_trained_do_not_change(make: Make) -> None:
    """Neither by a gradient nor by weight decay: torch.optim leaves them alone."""
    for build, name in ((frozen, "0.weight"), (unused, "idle.weight")):
        task = Toy(build)
        members = [member(task, 0, "adamw", lr=0.1), member(task, 1, "sgd", lr=0.1, weight_decay=0.1)]
        engine = make(2)
        engine.admit(members)
        engine.advance()
        start = initial_parameters(task, 0, 0)
        for found in all_tensors(engine, members):
            for each, value in start.items():
                assert torch.equal(found[each], value) == (each.split(".")[0] == name.split(".")[0])


def all_tensors(engine: Any, members: list[Member]) -> list[dict[str, Tensor]]:
    """Each member's parameters and buffers by name."""
    state = engine.state()
    if "members" in state:
        return [each["model"] for each in state["members"]]
    return [
        {
            name.split(".", 1)[1]: value
            for name, value in each.items()
            if name.startswith(("parameter", "kept"))
        }
        for each in tensors(engine, members)
    ]


def dropping() -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, 16), nn.Dropout(), head(16))


def test_dropout_follows_from_seed_replicate_and_step() -> None:
    """It does not depend on earlier draws or on the other members."""
    task = Toy(dropping)
    first, second, other = member(task, 0), member(task, 1), member(task, 2, replicate=1)
    together = finish(sequential(3), [first, second, other])
    torch.manual_seed(99)
    assert alone(first) == curve(together[first])
    # Members of one replicate drop the same units: the comparison is fair.
    assert curve(together[first]) == curve(together[second])
    assert curve(together[first]) != curve(together[other])


def test_restored_dropout_continues_to_the_last_bit() -> None:
    members = some(Toy(dropping), 2)
    engine, restored = sequential(2), sequential(2)
    engine.admit(members)
    engine.advance()
    restored.restore(members, copied(engine.state()))
    expected = finish(engine)
    for each, evaluations in finish(restored).items():
        assert curve(evaluations) == curve(expected[each])


def test_scores_are_computed_in_evaluation_mode() -> None:
    """For example without dropout, with which scores would be random."""

    class Marked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = head()

        def forward(self, x: Tensor) -> Tensor:
            return self.head(x) + (1000.0 if self.training else 0.0)

    for engine in (population(1), sequential(1)):
        (evaluations,) = finish(engine, some(Toy(Marked), 1)).values()
        for each in evaluations:
            assert each.metrics["train_loss"] > 1e5
            assert each.metrics["val_loss"] < 1e5


def test_scoring_does_not_change_batch_norm_statistics() -> None:
    task = Toy(lambda: nn.Sequential(nn.BatchNorm1d(FEATURES), head()), evaluate_every=1)
    engine = sequential(1)
    engine.admit(some(task, 1))
    for _ in range(3):
        engine.advance()
    statistics = engine.state()["members"][0]["model"]
    assert statistics["0.num_batches_tracked"] == 3


def test_buffers_of_a_model_have_the_precision_of_its_weights() -> None:
    """And their device: else a model with such a tensor could not be trained on a GPU."""
    torch.set_default_dtype(torch.float32)
    task = Toy(MODELS["a fixed projection first"])
    each = member(task, lr=0.01)
    for engine in (sequential(1), population(1)):
        assert len(finish(engine, [each])[each]) == 3
