"""What people's own models do in a training step: both engines do it as a plain loop in torch does."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from adamtune.engines.base import Member, Source
from adamtune.engines.batching.selection import select
from adamtune.engines.metrics import plain_metrics
from adamtune.engines.plan import make_plan
from adamtune.engines.population.capture import Capture
from adamtune.engines.population.draws import Draws
from adamtune.engines.population.engine import Population
from adamtune.engines.population.memory_plan import tensors_in
from adamtune.engines.population.verification import batched_task
from adamtune.engines.sequential import Sequential
from adamtune.errors import UsageError
from adamtune.tasks.base import Model
from adamtune.tasks.pytree import map_rows, take_rows
from adamtune.tasks.randomness import batch_indices, derive, initial_module

from .models import FEATURES, Calls, Toy, noise
from .training import finish, member

STEPS = 6


def head(width: int = FEATURES) -> nn.Module:
    return nn.Linear(width, 1)


def squared(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
    return F.mse_loss(model(inputs).squeeze(-1), target)


class Counter(nn.Module):
    """Replaces one buffer and changes another one in place."""

    def __init__(self) -> None:
        super().__init__()
        self.head = head()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("average", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
            self.average = 0.9 * self.average + 0.1 * x.mean()
        return self.head(x) * torch.clamp(self.calls / 4, max=1.0) + self.average


class Lora(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(FEATURES, 8).requires_grad_(False)
        self.down, self.up = nn.Parameter(torch.randn(2, FEATURES)), nn.Parameter(torch.zeros(8, 2))
        self.head = head(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.base(x) + x @ self.down.t() @ self.up.t()))


class Vae(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(FEATURES, 4), nn.Linear(2, FEATURES)

    def forward(self, x: Tensor) -> Tensor:
        mean, log_variance = self.encoder(x).chunk(2, -1)
        return self.decoder(mean + torch.randn_like(mean) * (log_variance / 2).exp()).mean(-1, keepdim=True)


class ComplexWeights(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, dtype=torch.complex64))
        self.head = head()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.fft.irfft(torch.fft.rfft(x) * self.weight, n=FEATURES))


class Reported(nn.Module):
    """Keeps and shows numbers that it does not compute with."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.calls, self.mean = head(), 0, 0.0
        self.losses, self.parts = [], {"size": 0.0}

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(x)
        if self.training:
            self.calls += 1
            self.mean = (1 - 0.1) * self.mean + 0.1 * found.mean().item()
            self.losses += [found.std().item(), found.tolist(), f"{found.mean():.3f} {self.mean:.2f}"]
            self.parts["size"] = round(-found.norm().item() / 2 + 1, 3)
        return found


def in_float32(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
    """As of the language models of ``transformers``, whatever the precision of the model."""
    return F.cross_entropy(model(inputs).float(), (target > 0).long())


def selecting(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
    """Losses of rows that masks select; some masks select all rows, others one or none."""
    high = target > target.mean()
    found = model(inputs[high]).squeeze(-1)
    loss = F.mse_loss(found, target[high]) + (found * 2 - 1).abs().mean() / 2 + found.exp().max()
    every, none = model(inputs[target > -9]), model(inputs[target > 9])
    logits = torch.cat([model(inputs), -model(inputs)], 1)
    chosen = F.cross_entropy(logits[high], high[high].long()) + (1 - logits[high, 0]).square().sum()
    cells = torch.masked_select(logits, logits.detach() > logits.detach().mean()).mean()
    counted = torch.where(target == target.max(), -100, 1)[target > -9]
    chosen = chosen + logits[high].amax(1).mean() + F.cross_entropy(logits[target > -9], counted)
    return loss + every.mean(0).sum() + none.sum() + chosen + cells + logits[~high].sum(0).square().sum()


def assigned(found: Tensor, mask: Tensor, value: Tensor) -> Tensor:
    found = found.clone()
    found[mask] = value
    return found.square().mean()


def assigning(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
    high, inputs, made = target > 0, inputs.clone(), torch.zeros(len(inputs), 1)
    inputs[inputs > 1] = 1.0
    inputs[high] *= 2
    made[~high] = model(inputs[~high]).tanh()
    return (
        squared(model, inputs, target) + assigned(model(inputs), high, target.mean()) + made.square().mean()
    )


def balanced(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
    """Weights one loss by the ratio to the other, and inputs by their own deviation."""
    squares, lengths = squared(model, inputs, target), model(inputs / (1 - inputs.std().item())).abs().mean()
    factor = round(2 * squares.item() / (lengths.item() + 1e-8), 6)
    return squares + lengths * factor / 3 - 0.1 * abs(-lengths.item()) * squares**2 + 0.5 // 2


def checked(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
    found = model(inputs)
    assert found.isfinite().all()
    assert not torch.allclose(found, found + 1)
    assert not torch.equal(found, inputs)
    loss = squared(model, inputs, target)
    if torch.isnan(loss) or loss.item() > 1e6 or not inputs.any().item():
        raise ValueError("it has diverged")
    return loss * F.one_hot((inputs[:, 0] < 1e9).long())[0, int(found.numel() > 0)]


class Flipping(nn.Module):
    """Doubles its result, and counts, from a step on that is not the same for all members."""

    def __init__(self) -> None:
        super().__init__()
        self.head = head()
        self.register_buffer("average", torch.ones(()))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(x)
        if self.training:
            self.average.mul_(0.6).add_(0 * found.detach().mean())
            if self.average < 0.1 + found.detach().mean().abs() / 100:
                self.calls += 1
                found = found * 2
        return found


class Augmenting(nn.Module):
    """Changes its batch in place, and its dropout from some step on."""

    def __init__(self) -> None:
        super().__init__()
        self.head = head()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        x.mul_(2).add_(1)
        if self.training:
            self.calls += 1
        if self.calls * (1 + 0 * self.head.bias.sum()) > 5:
            return F.dropout(self.head(x), 0.4, self.training) * 2
        return self.head(F.dropout(x, 0.2, self.training))


class MovedByMetrics(nn.Module):
    """Moves an average in evaluation mode, too, and replaces a queue."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.slow = head(), head().requires_grad_(False)
        self.register_buffer("queue", torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            for ours, theirs in zip(self.slow.parameters(), self.layer.parameters(), strict=True):
                ours.lerp_(theirs, 0.5)
            self.queue = torch.cat([self.queue[1:], x.mean().reshape(1)])
        return self.layer(x) + self.slow(x) + self.queue.mean()


def in_place() -> nn.Module:
    model = nn.Sequential(nn.Linear(FEATURES, 5), nn.Dropout(0.3), nn.Linear(5, 1))
    model.compile(backend="aot_eager")
    return model


@torch.compile(backend="aot_eager")
def compiled_activation(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.7 * x)


class CompiledParts(nn.Module):
    """A function, and a method of the model, are compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(FEATURES, 5), nn.Linear(5, 1)

    @torch.compile(backend="aot_eager")
    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.dropout(compiled_activation(self.layer(x)), 0.2))


def mixup(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
    part, order = torch.distributions.Beta(0.4, 0.4).sample(), torch.randperm(len(inputs))
    mixed = [part * each + (1 - part) * each[order] for each in (inputs, target)]
    return squared(model, *mixed)


def policy_gradient(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
    policy = torch.distributions.Categorical(logits=model(inputs))
    action = policy.sample()
    return -(policy.log_prob(action) * (action.to(target.dtype) - target)).mean()


class Limited(nn.Module):
    """Shortens the rows of an embedding that are used."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(9, 3, padding_idx=0, max_norm=0.8), head(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.words((x.abs() * 2).long().clamp(max=8)).mean(1))


class Bag(nn.Module):
    """Token embeddings with a padding row, of tokens made of the inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(5, 4, padding_idx=0), head(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.table((x.abs() * 3).long().clamp(max=4)).mean(-2))


def recurrent(kind: Any, **options: Any) -> Callable[[], nn.Module]:
    width = 4 * (2 if options.get("bidirectional") else 1)
    return lambda: Calls(
        lambda self, x: self.head(self.layer(x.unflatten(-1, (3, 2)))[0].mean(1)),
        layer=kind(2, 4, **options),
        head=head(width),
    )


def images(*layers: nn.Module) -> nn.Module:
    """Layers on images of two channels, 2 by 3 pixels, made of six features."""
    first = nn.Conv2d(1, 2, 1, bias=False)  # a bias before a norm has no gradient but rounding
    return nn.Sequential(nn.Unflatten(-1, (1, 2, 3)), first, *layers, nn.Flatten(), nn.LazyLinear(1))


def cells() -> nn.Module:
    def forward(self: Any, x: Tensor) -> Tensor:
        h = c = x.new_zeros(len(x), 3)
        for part in x.split(2, -1):
            h, c = self.lstm(part, (h, c))
            h = self.gru(part, h)
            h = h + self.rnn(part, h)
        return self.head(h)

    return Calls(forward, lstm=nn.LSTMCell(2, 3), gru=nn.GRUCell(2, 3), rnn=nn.RNNCell(2, 3), head=head(3))


def evaluation_mode() -> nn.Module:
    """A model that its author has put in evaluation mode: a training loop calls ``train()``."""
    return nn.Sequential(nn.Linear(FEATURES, 8), nn.Dropout(), head(8)).eval()


def spectral() -> nn.Module:
    norm = nn.utils.parametrizations.spectral_norm
    return nn.Sequential(norm(nn.Linear(FEATURES, 5)), nn.Tanh(), head(5))


def penalised(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
    """A loss with a second derivative."""
    inputs = inputs.clone().requires_grad_()
    found = model(inputs)
    (slope,) = torch.autograd.grad(found.sum(), inputs, create_graph=True)
    return F.mse_loss(found.squeeze(-1), target) + slope.square().sum(-1).mean()


def functional(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
    slope = torch.func.vmap(torch.func.grad(lambda row: model(row[None])[0, 0]))(inputs)
    return F.mse_loss(model(inputs).squeeze(-1), target) + slope.square().sum(-1).mean()


def mixed(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
    """Mixup, with draws of torch."""
    device = inputs.device
    share, order = torch.rand(len(inputs), 1, device=device), torch.randperm(len(inputs), device=device)
    noisy = torch.empty(len(inputs), FEATURES, device=device).normal_(0, 0.1).to(inputs.dtype)
    share = share.to(inputs.dtype)
    x = share * inputs + (1 - share) * inputs[order] + noisy
    return F.mse_loss(model(x).squeeze(-1), share[:, 0] * target + (1 - share[:, 0]) * target[order])


def by_attributes(model: Any, inputs: Tensor, target: Tensor) -> Tensor:
    """A loss that uses the model as the module that it is."""
    assert isinstance(model, nn.Module)
    found = model[1](model[0](input=inputs))
    assert model.training == model[0].training
    return F.mse_loss(found.squeeze(-1), target) + 0.1 * model[0].weight.square().sum()


class Kept(nn.Module):
    """Keeps a result where others may look at it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head, self.last = nn.Linear(FEATURES, 5), head(5), {}

    def forward(self, x: Tensor) -> Tensor:
        self.found = self.layer(x)
        self.last["found"], self.chosen = self.found, self.found.argmax(-1)
        return self.head(self.found.tanh())


class Averaged(nn.Module):
    """Changes buffers by their ``data``."""

    def __init__(self) -> None:
        super().__init__()
        self.head = head()
        self.register_buffer("mean", torch.zeros(FEATURES))
        self.register_buffer("size", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean.data.mul_(0.9).add_(x.mean(0), alpha=0.1)
            self.size.data = 0.9 * self.size.data + 0.1 * x.detach().abs().mean()
        return self.head((x - self.mean) / self.size)


def checkpointed(reentrant: bool) -> nn.Module:
    def forward(self: Any, x: Tensor) -> Tensor:
        return self.head(checkpoint(self.body, self.layer(x), use_reentrant=reentrant))

    body = nn.Sequential(nn.ReLU(), nn.Dropout(0.3))
    return Calls(forward, layer=nn.Linear(FEATURES, 8), body=body, head=head(8))


class Rounded(torch.autograd.Function):
    """The sign, with a gradient near 0; and the argument itself, whose gradient is scaled."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(x, None)
        ctx.factor, ctx.inside = factor, x.abs() < 1
        chosen = x.argmax(-1)
        ctx.mark_non_differentiable(chosen)
        return x.sign() + bias, x.view_as(x), chosen

    @staticmethod
    def backward(ctx: Any, first: Tensor, second: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        x, nothing = ctx.saved_tensors
        assert nothing is None
        assert ctx.needs_input_grad == (True, False, True)
        return first * ctx.inside * x + ctx.factor * second, None, first.sum(0)


class Doubled(torch.autograd.Function):
    """Has a context apart, and no rule for ``vmap``."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * ctx.saved_tensors[0].cos()


def own_functions(self: Any, x: Tensor) -> Tensor:
    first, second, chosen = Rounded.apply(self.layer(x), -0.5, self.bias)
    return self.head(first * second + F.one_hot(chosen, 5)) + self.head(Doubled.apply(first))


def scattered(self: Any, x: Tensor) -> Tensor:
    """Adds results up in a tensor of zeros, which is the same for all members before."""
    groups = torch.zeros(len(x), 3, dtype=x.dtype, device=x.device)
    groups.scatter_add_(1, torch.arange(5, device=x.device).expand(len(x), 5) % 3, self.layer(x))
    return self.head(groups)


def of_distributions(self: Any, x: Tensor) -> Tensor:
    mean, scale = self.layer(x).chunk(2, -1)
    found = torch.distributions.Normal(mean, F.softplus(scale) + 0.1)
    prior = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    return self.head(found.rsample()) + torch.distributions.kl_divergence(found, prior).mean()


def likelihood(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
    found = model(inputs).squeeze(-1)
    losses = [
        F.gaussian_nll_loss(found, target, found.square() - spread, full=True, eps=0.3, reduction=reduction)
        for reduction in ("mean", "sum")
        for spread in (-0.1, 0 * found.detach())
    ]
    return sum(losses) + F.gaussian_nll_loss(found, target, 2.0)


def plain() -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, 5), nn.Linear(5, 1))


OWN: dict[str, Toy] = {
    "dropout": Toy(lambda: nn.Sequential(nn.Linear(FEATURES, 8), nn.ReLU(), nn.Dropout(0.3), head(8))),
    "dropout in place": Toy(
        lambda: nn.Sequential(nn.Linear(FEATURES, 8), nn.Dropout(0.3, inplace=True), head(8))
    ),
    "dropout as of a GPU": Toy(
        lambda: Calls(
            lambda self, x: self.head(torch.native_dropout(self.layer(x), 0.3, True)[0]),
            layer=nn.Linear(FEATURES, 8),
            head=head(8),
        )
    ),
    "alpha dropout": Toy(lambda: nn.Sequential(nn.Linear(FEATURES, 8), nn.AlphaDropout(0.3), head(8))),
    "reparametrised draws": Toy(Vae),
    "draws of the loss": Toy(plain, mixed),
    "batch norm": Toy(lambda: nn.Sequential(nn.Linear(FEATURES, 5), nn.BatchNorm1d(5), nn.ReLU(), head(5))),
    "batch norm of images": Toy(
        lambda: images(nn.BatchNorm2d(2), nn.ReLU(inplace=True), nn.Conv2d(2, 4, 3, 2, 1, bias=False))
    ),
    "batch norm without running statistics": Toy(
        lambda: images(nn.BatchNorm2d(2, affine=False, track_running_stats=False), nn.Tanh())
    ),
    "group norm": Toy(lambda: images(nn.ReLU(inplace=True), nn.GroupNorm(1, 2), nn.GELU())),
    "a second derivative of batch norm": Toy(
        lambda: nn.Sequential(nn.Linear(FEATURES, 5), nn.BatchNorm1d(5), nn.Tanh(), head(5)), penalised
    ),
    "a second derivative of an LSTM": Toy(recurrent(nn.LSTM), penalised),
    "buffers": Toy(Counter),
    "spectral norm": Toy(spectral),
    "weight norm": Toy(
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(FEATURES, 5)), head(5))
    ),
    "low rank adaptation": Toy(Lora),
    "complex weights": Toy(ComplexWeights),
    "a padding row": Toy(Bag),
    "a model in evaluation mode": Toy(evaluation_mode),
    "an activation in place": Toy(
        lambda: nn.Sequential(nn.Linear(FEATURES, 5), nn.ReLU(inplace=True), head(5))
    ),
    "a random buffer": Toy(
        lambda: Calls(
            lambda self, x: self.head((x @ self.fixed).sin()), head=head(4), fixed=torch.randn(FEATURES, 4)
        )
    ),
    "lazy layers": Toy(
        lambda: nn.Sequential(nn.LazyLinear(5), nn.LazyBatchNorm1d(), nn.Tanh(), nn.LazyLinear(1))
    ),
    "a second derivative": Toy(lambda: nn.Sequential(nn.Linear(FEATURES, 5), nn.Tanh(), head(5)), penalised),
    "torch.func": Toy(lambda: nn.Sequential(nn.Linear(FEATURES, 5), nn.Tanh(), head(5)), functional),
    "the module's attributes": Toy(plain, by_attributes),
    "results kept in attributes": Toy(Kept),
    "buffers by their data": Toy(Averaged),
    "the old spectral norm": Toy(
        lambda: nn.Sequential(nn.utils.spectral_norm(nn.Linear(FEATURES, 5)), nn.Tanh(), head(5))
    ),
    "checkpoints": Toy(lambda: checkpointed(False)),
    "reentrant checkpoints": Toy(lambda: checkpointed(True)),
    "a constant changed in place": Toy(lambda: Calls(scattered, layer=nn.Linear(FEATURES, 5), head=head(3))),
    "functions with a gradient of their own": Toy(
        lambda: Calls(
            own_functions, layer=nn.Linear(FEATURES, 5), bias=nn.Parameter(torch.ones(5)), head=head(5)
        )
    ),
    "distributions": Toy(lambda: Calls(of_distributions, layer=nn.Linear(FEATURES, 4), head=head(2))),
    "Gaussian likelihood": Toy(plain, likelihood),
    "a moving average that metrics move": Toy(MovedByMetrics),
    "numbers that are shown and kept": Toy(Reported),
    "numbers of tensors as factors": Toy(plain, balanced),
    "selected rows": Toy(lambda: Calls(lambda self, x: self.head(x), head=head()), selecting),
    "assignments by masks": Toy(plain, assigning),
    "a loss in float32": Toy(lambda: nn.Linear(FEATURES, 3), in_float32),
    "decisions that are always alike": Toy(plain, checked),
    "a decision that changes": Toy(Flipping),
    "batches changed in place": Toy(Augmenting),
    "a compiled module": Toy(in_place),
    "compiled parts": Toy(CompiledParts),
    "cumulative batch norm": Toy(
        lambda: nn.Sequential(nn.Linear(FEATURES, 5), nn.BatchNorm1d(5, momentum=None), head(5))
    ),
    "randomized leaky ReLU": Toy(
        lambda: nn.Sequential(nn.Linear(FEATURES, 5), nn.RReLU(), nn.RReLU(inplace=True), head(5))
    ),
    "mixup": Toy(measure=mixup),
    "an action": Toy(lambda: nn.Linear(FEATURES, 3), policy_gradient),
    "an embedding of limited length": Toy(Limited),
    "a complex number": Toy(lambda: Calls(lambda self, x: (self.layer(x) * 1j).exp().real, layer=head())),
    "a norm over a dimension": Toy(
        lambda: Calls(lambda self, x: self.layer(x).norm(2, -1, keepdim=True), layer=nn.Linear(FEATURES, 5))
    ),
    "a shape changed in place": Toy(
        lambda: Calls(lambda self, x: self.layer(x).mul(2).squeeze_(-1).sin().unsqueeze_(-1), layer=head())
    ),
    **{
        f"{kind.__name__} {options}": Toy(recurrent(kind, **options))
        for kind, options in (
            (nn.LSTM, {}),
            (nn.LSTM, {"num_layers": 2, "dropout": 0.3, "bidirectional": True, "batch_first": True}),
            (nn.GRU, {"bias": False}),
            (nn.GRU, {"num_layers": 2, "batch_first": True}),
            (nn.RNN, {"nonlinearity": "tanh"}),
            (nn.RNN, {"nonlinearity": "relu", "bidirectional": True}),
        )
    },
    "cells": Toy(cells),
    "a transformer with dropout": Toy(
        lambda: Calls(
            lambda self, x: self.head(self.layer(x.unflatten(-1, (3, 2))).flatten(1)),
            layer=nn.TransformerEncoderLayer(2, 1, 4, 0.2, batch_first=True),
            head=head(),
        )
    ),
}


def plain_loop(each: Member) -> nn.Module:
    """The member's model after all steps, trained as one would without this package, in float64."""
    task = each.task
    model = initial_module(task, each.seed, each.replicate).double()
    for parameter in model.parameters():
        if parameter.is_complex():
            parameter.data = parameter.data.to(torch.complex128)
    optimizer = torch.optim.AdamW(model.parameters(), lr=each.hyperparameters["lr"])
    rows = map_rows(lambda tensor: tensor.double(), task.train)
    for step in range(STEPS):
        torch.manual_seed(derive(each.seed, "step", each.replicate, step))
        (index,) = batch_indices(task, each.seed, each.replicate, step, step + 1)
        optimizer.zero_grad()
        task.loss(model, take_rows(rows, index)).backward()
        optimizer.step()
    return model


def members(task: Any) -> list[Member]:
    """Members of two replicates, so that some share their batches and draws and others do not."""
    return [member(task, trial, "adamw", lr=0.01 * (trial + 1), replicate=trial // 2) for trial in range(4)]


def at_the_end(trained: list[Member], engine: type[Population | Sequential]) -> list[dict[str, Tensor]]:
    """Each member's parameters and buffers after all steps in float64."""
    made = engine(len(trained), dtype=torch.float64)
    made.admit(trained)
    for _ in range(STEPS // 2):
        made.advance()
    state = made.state()
    if "members" in state:
        return [each["model"] for each in state["members"]]
    (group,) = state["groups"]
    found = {
        name.split(".", 1)[1]: value
        for name, value in group["tensors"].items()
        if name.startswith(("parameter.", "kept."))
    }
    return [
        {name: value[group["members"].index(row)] for name, value in found.items()}
        for row in range(len(trained))
    ]


# Only the names: the engines look for counters in all that functions of this file hold, marks included.
@pytest.mark.parametrize("name", [*OWN])
@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True")
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_they_are_trained_in_lockstep_as_in_a_plain_loop(name: str) -> None:
    """Parameters and buffers are those of a plain loop, as those of the sequential engine are."""
    task = Toy(OWN[name].make, OWN[name].measure, steps=STEPS + 1, evaluate_every=2)
    assert make_plan(task, "auto", "auto", "cpu", 1).engine == "population"
    trained = members(task)
    models = [plain_loop(each) for each in trained]
    for engine in (Population, Sequential):
        found = at_the_end(trained, engine)
        for model, tensors in zip(models, found, strict=True):
            for key, value in (*model.named_parameters(), *model.named_buffers()):
                if value.is_floating_point() or value.is_complex():
                    ours = tensors[key].to(value.dtype)
                    torch.testing.assert_close(ours, value.detach(), rtol=1e-9, atol=1e-8)
                else:
                    assert torch.equal(tensors[key], value)
        trainable = dict(models[0].named_parameters())
        first = next(key for key in trainable if not torch.equal(found[0][key], found[1][key]))
        assert len({tuple(each[first].flatten().tolist()) for each in found}) == 4


def half(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        found = model(inputs).squeeze(-1)
    assert inputs.dtype == torch.float64 or found.dtype == torch.bfloat16
    return F.mse_loss(found.to(target.dtype), target)


def test_autocast_is_kept() -> None:
    torch.set_default_dtype(torch.float32)
    source = Source(Toy(plain, half), torch.device("cpu"))
    assert batched_task(source).method.rules
    task = batched_task(source)
    parameters = {name: torch.stack([value] * 2) for name, value in source.initial(0, 0).items()}
    batch = take_rows(source.train, slice(4))
    capture = task.gradients(parameters, {}, batch, True, Draws(2, source.device))
    # The logits, their products' gradients and the casts, none of which is there without autocast.
    assert sum(each.dtype == torch.bfloat16 for call in capture.program for each in tensors_in(call[1:])) > 8


def test_members_that_share_a_batch_get_it_unchanged() -> None:
    """Each member that decides otherwise than recorded is computed by itself, on the batch of all."""
    task = Toy(Augmenting, steps=STEPS + 1, evaluate_every=2)
    trained = [member(task, trial, "adamw", lr=0.01 * (trial + 1)) for trial in range(6)]
    for each, found in zip(trained, at_the_end(trained, Population), strict=True):
        for name, value in plain_loop(each).named_parameters():
            torch.testing.assert_close(found[name], value.detach(), rtol=1e-9, atol=1e-8)


def test_metrics_that_change_their_rows_in_place_find_the_same_rows_each_time() -> None:
    task = Toy(Augmenting)
    module, rows = task.build(), task.validation
    before = rows[0].clone()
    found = [plain_metrics(task, module, rows, seed=0) for _ in range(3)]
    assert found[0] == found[1] == found[2]
    assert torch.equal(rows[0], before)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_rows_of_masks_that_are_alike_in_some_steps_alone_give_no_number() -> None:
    """A capture is for masks that are alike; another step may be computed by its replay."""

    def compute(x: Tensor, y: Tensor) -> Tensor:
        found: Tensor = torch.vmap(lambda x, y: (select(x, x > 0) - select(y, y > 0)).sum())(x, y)
        return found

    x, y = torch.tensor([[1.0, -2.0]]), torch.tensor([[3.0, -1.0]])
    capture = Capture(compute, x, y)
    y.neg_()
    capture.replay()
    assert capture.outputs.isnan().all()
    x.neg_()
    capture.replay()
    assert capture.outputs.item() == 1


def test_the_largest_of_no_selected_rows_is_no_number() -> None:
    rows = torch.tensor([[1.0, 2.0], [-1.0, -2.0]])
    assert repr(torch.vmap(lambda own: select(own, own > 0).max())(rows).tolist()) == "[2.0, nan]"


class Half(nn.Module):
    """Its author has chosen float64 for the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.head = head().double()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x)


@pytest.mark.parametrize("engine", [Population, Sequential])
def test_the_models_own_precision_is_kept(engine: type[Population | Sequential]) -> None:
    made = engine(1)
    made.admit([member(Toy(Half))])
    made.advance()
    state = made.state()
    if "members" in state:
        assert state["members"][0]["model"]["head.weight"].dtype == torch.float64
    else:
        assert state["groups"][0]["tensors"]["parameter.head.weight"].dtype == torch.float64


class Annealed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head, self.calls = head(), 0

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
        return self.head(x) * self.calls


def numpy_mixup(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
    return squared(model, inputs * float(np.random.beta(1, 1)), target)


def python_draw(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
    return squared(model, inputs * random.random(), target)


def branching(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
    loss = squared(model, inputs, target)
    return loss * 2 if loss > 1 else loss


class Nested(nn.Module):
    """Counts in a dictionary, and not in every step."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.state = head(), {"calls": [0]}

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.state["calls"][0] += 1
        return self.head(x) * (1 + self.state["calls"][0] // 10)


class Remembers(nn.Module):
    """Uses the result of the step before."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.last = head(), None

    def forward(self, x: Tensor) -> Tensor:
        found = self.head(x) if self.last is None else self.head(x) + self.last
        self.last = found.detach() if self.training else self.last
        return found


def counting(calls: list[int] = [0]) -> Callable[..., Tensor]:  # noqa: B006
    def counted(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
        calls[0] += 1
        return squared(model, inputs, target) / calls[0]

    return counted


def generating() -> nn.Module:
    """A model with a generator of its own."""
    generator = torch.Generator()
    model = Calls(lambda self, x: self.head(x + torch.rand(FEATURES, generator=self.generator)), head=head())
    model.generator = generator  # type: ignore[assignment]
    return model


def through_numpy(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
    return (torch.from_numpy(np.abs(target.numpy())) * model(inputs).squeeze(-1)).mean()


def hooked(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
    found = model(inputs)
    if torch.is_grad_enabled():
        found.register_hook(torch.Tensor.neg)
    return found.square().mean()


class Sparse(nn.Module):
    """Mixes the rows of a batch along the edges of a graph."""

    def __init__(self) -> None:
        super().__init__()
        self.head = head()
        self.register_buffer("adjacency", torch.eye(4).to_sparse())

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.sparse.mm(self.adjacency, x) if len(x) == 4 else x)


class KeyErrorInLockstep(nn.Module):
    """Raises an error of any type where it is not called with plain tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.head = head()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x) * {Tensor: 1.0}[type(x)] * float(x.numpy()[0, 0])


class Decided(nn.Module):
    """Keeps a running mean of its output, which decides something when it is far beyond what it ever is."""

    def __init__(self, measure: Callable[[nn.Module, Tensor], Any]) -> None:
        super().__init__()
        self.head, self.mean, self.measure = head(), 0.0, measure

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(x)
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * found.mean().item()
        return found * 2 if self.measure(self, found) else found


class Shown(nn.Module):
    """In evaluation mode, adds what it has kept in training."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.shown = head(), torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(x)
        if not self.training:
            return found + self.shown
        self.shown = found.detach().mean()
        return found


SEQUENTIAL: dict[str, tuple[Toy, str]] = {
    "a mean that decides": (Toy(lambda: Decided(lambda self, x: self.mean > 1e6)), "attribute mean"),
    "a mean as a factor": (Toy(lambda: Decided(lambda self, x: (x * self.mean) is None)), "attribute mean"),
    "a mean as a number": (Toy(lambda: Decided(lambda self, x: math.isnan(self.mean))), "attribute mean"),
    "metrics of what a step keeps": (Toy(Shown), "attribute shown"),
    "a counter in Python": (
        Toy(Annealed),
        r"attribute calls \(\S+:\d+\): make it",
    ),
    "a counter in a dictionary": (
        Toy(Nested),
        r"attribute state\['calls'\]\[0\] \(\S+:\d+\): make it",
    ),
    "a result of the step before": (Toy(Remembers), r"attribute last \(\S+:\d+\): make it a buffer"),
    "a counter in a closure": (
        Toy(plain, counting()),
        r"task attribute measure\.calls\[0\]: make it a buffer",
    ),
    **{
        f"selected rows, {name}": (
            Toy(plain, measure),
            r"test_own_models\.py:\d+: how many elements .*torch\.where",
        )
        for name, measure in {
            "counted": lambda model, x, y: squared(model, x[y > 0], y[y > 0]) / len(y[y > 0]),
            "joined": lambda model, x, y: torch.cat([model(x[y > 0]), model(x)]).square().mean(),
            "normalised": lambda model, x, y: (model(x[y > -9]).softmax(0) * y[y > -9, None]).sum(),
            "multiplied": lambda model, x, y: (model(x[y > -9]) @ model(x[y > -9]).T).mean(),
            "summed up": lambda model, x, y: model(x[y > -9]).cumsum(0).square().mean(),
            "changed in place": lambda model, x, y: model(x[y > -9]).clamp_(max=9).square().mean(),
            "of two masks": lambda model, x, y: (model(x[y > 0]) - model(x[y <= 0])).mean(),
            "elsewhere": lambda model, x, y: assigned(model(x), y > 0, model(x[y <= 0])),
        }.items()
    },
    "a generator": (
        Toy(generating),
        "without a generator",
    ),
    "NumPy's generator": (Toy(plain, numpy_mixup), r"NumPy's global generator: draw with torch"),
    "Python's generator": (Toy(plain, python_draw), r"Python's random module: draw with torch"),
    "a branch": (Toy(plain, branching), r"test_own_models\.py:\d+: .*control flow"),
    "NumPy": (Toy(plain, through_numpy), r"test_own_models\.py:\d+: NumPy reads a tensor"),
    "a hook": (Toy(plain, hooked), r"test_own_models\.py:\d+: a hook on a tensor"),
    "a sparse buffer": (Toy(Sparse), r"the tensor adjacency is sparse"),
    "any error": (Toy(KeyErrorInLockstep), r"test_own_models\.py:\d+"),
}


@pytest.mark.parametrize("name", [*SEQUENTIAL])
def test_others_are_trained_one_after_the_other_and_the_plan_says_why(name: str) -> None:
    task, reason = SEQUENTIAL[name]
    made = make_plan(task, "auto", "auto", "cpu", 1)
    assert made.engine == "sequential"
    assert "\n" not in made.why
    assert re.search(reason, made.why), made.why


class Remembering(nn.Module):
    """Remembers in Python that its average was small once."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.small = head(), False
        self.register_buffer("average", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        self.average.mul_(0.8)
        if self.average < 0.4:
            self.small = True
        return self.head(x) * (2 if self.small else 1)


class RememberingTwo(Remembering):
    """Remembers it only if another value is small, too."""

    def forward(self, x: Tensor) -> Tensor:
        self.average.mul_(0.8)
        if self.average < 0.4 and self.average * 2 < 0.8:
            self.small = True
        return self.head(x) * (2 if self.small else 1)


class OtherHead(Remembering):
    """Trains another layer when its average is small."""

    def __init__(self) -> None:
        super().__init__()
        self.other = head()

    def forward(self, x: Tensor) -> Tensor:
        self.average.mul_(0.8)
        return self.other(x) if self.average < 0.4 else self.head(x)


@pytest.mark.parametrize("make", [Remembering, OtherHead])
def test_what_a_rare_decision_changes_is_found_before_the_training(make: Callable[[], nn.Module]) -> None:
    why = make_plan(Toy(make), "auto", "auto", "cpu", 1).why
    assert re.search(r"test_own_models\.py:\d+: .*control flow", why)


def test_a_decision_that_is_remembered_outside_of_buffers_is_an_error() -> None:
    task = Toy(RememberingTwo, steps=STEPS)
    assert make_plan(task, "auto", "auto", "cpu", 1).engine == "population"
    with pytest.raises(UsageError, match=r"the attribute small of the model.*engine: sequential"):
        finish(Population(2), members(task)[:2])


@pytest.mark.parametrize("name", ["NumPy's generator", "Python's generator"])
def test_draws_of_other_generators_follow_from_seed_replicate_and_step(name: str) -> None:
    task, _ = SEQUENTIAL[name]
    each = member(task, lr=0.01)
    first, second = Sequential(1), Sequential(1)
    found = finish(first, [each])[each]
    np.random.seed(99)
    random.seed(99)
    again = finish(second, [each])[each]
    assert [x.metrics for x in found] == [x.metrics for x in again]


class Remembering(Annealed):
    """Counts in Python, and in a buffer that ``state_dict`` leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        self.seen += x.mean().abs()
        return super().forward(x) * self.seen


def test_a_restored_sequential_training_has_its_counters_and_all_buffers() -> None:
    trained = [member(Toy(Remembering), trial, lr=0.01 * (trial + 1)) for trial in range(2)]
    engine, restored = Sequential(2), Sequential(2)
    engine.admit(trained)
    engine.advance()
    restored.restore(trained, engine.state())
    expected = finish(engine)
    for each, evaluations in finish(restored).items():
        assert [x.metrics for x in evaluations] == [x.metrics for x in expected[each]]


LOSSES: dict[str, Callable[..., Any]] = {
    "a loss of each row": lambda model, x, y: (model(x).squeeze(-1) - y).square(),
    "no tensor": lambda model, x, y: float(squared(model, x, y)),
    "whole numbers": lambda model, x, y: squared(model, x, y).long(),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True")
def test_a_loss_that_is_no_number_is_an_error(name: str) -> None:
    task = Toy(plain, LOSSES[name])
    with pytest.raises(UsageError, match=r"loss returned .*: return one real number"):
        make_plan(task, "auto", "auto", "cpu", 1)
    engine = Sequential(1)
    engine.admit([member(task)])
    with pytest.raises(UsageError, match=r"loss returned .*: return one real number"):
        engine.advance()


def test_a_loss_in_another_precision_does_not_leave_its_buffer() -> None:
    task = Toy(plain, lambda model, x, y: squared(model, x, y).double().sum())
    found = []
    for engine in (Population(2), Sequential(2)):
        trained = [member(task, trial, lr=0.01 * (trial + 1)) for trial in range(2)]
        found.append([[e.metrics["train_loss"] for e in each] for each in finish(engine, trained).values()])
    for ours, theirs in zip(*found, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)


def test_a_model_without_weights_is_an_error() -> None:
    with pytest.raises(UsageError, match="no weights to train"):
        make_plan(Toy(nn.Identity), "auto", "auto", "cpu", 1)


def test_rows_may_be_nested() -> None:
    x, y = noise(3, 12)

    class Nested(Toy):
        @property
        def train(self) -> Any:
            return {"inputs": (x, x * 2), "target": [y]}

        @property
        def validation(self) -> Any:
            return {"inputs": (x[:5], x[:5]), "target": [y[:5]]}

        def loss(self, model: Any, batch: Any) -> Tensor:
            return squared(model, sum(batch["inputs"]), batch["target"][0])

        def scores(self, model: Any, rows: Any) -> dict[str, Tensor]:
            return {"val_loss": self.loss(model, rows)}

    trained = [member(Nested(), trial, lr=0.01 * (trial + 1)) for trial in range(2)]
    ours, theirs = (finish(engine, trained) for engine in (Population(2), Sequential(2)))
    for each in trained:
        for one, other in zip(ours[each], theirs[each], strict=True):
            assert one.metrics == pytest.approx(other.metrics, rel=1e-5)


class Batch(NamedTuple):
    inputs: Tensor
    target: Tensor


def test_rows_may_be_a_named_tuple() -> None:
    class Named(Toy):
        train = property(lambda self: Batch(*noise(3, 12)))
        validation = property(lambda self: Batch(*noise(4, 5)))

        def loss(self, model: Any, batch: Any) -> Tensor:
            return squared(model, batch.inputs, batch.target)

    plan = make_plan(Named(head), "auto", "auto", "cpu", 1)
    assert plan.engine == "population", plan.why


def ranked(model: Model, inputs: Tensor, target: Tensor) -> float:
    """A metric in plain Python that is no mean: the area under the ROC curve."""
    scores, hits = model(inputs).squeeze(-1).tolist(), (target > 0).tolist()
    good = [s for s, hit in zip(scores, hits, strict=True) if hit]
    bad = [s for s, hit in zip(scores, hits, strict=True) if not hit]
    return sum(g > b for g in good for b in bad) / max(1, len(good) * len(bad))


def test_metrics_may_be_plain_python_and_of_many_rows() -> None:
    x, y = noise(3, 400)

    class Ranked(Toy):
        @property
        def validation(self) -> Any:
            return x, y

        def scores(self, model: Any, rows: Any) -> dict[str, Any]:
            # 400 rows are more than 32 batches of 4: the model is called on parts, the metric sees all.
            assert len(model(rows[0])) == 400
            return {"val_loss": self.loss(model, rows), "val_auc": ranked(model, *rows)}

    task = Ranked()
    trained = [member(task, trial, lr=0.03 * (trial + 1)) for trial in range(2)]
    assert make_plan(task, "auto", "auto", "cpu", 1).engine == "population"
    for engine in (Population(2), Sequential(2)):
        found = finish(engine, trained)
        for each in trained:
            model = plain_loop_float32(each)
            with torch.no_grad():
                wanted = {"val_loss": float(squared(model, x, y)), "val_auc": ranked(model, x, y)}
            last = found[each][-1].metrics
            assert {name: last[name] for name in wanted} == pytest.approx(wanted, rel=1e-4)


def test_metrics_may_branch_where_they_see_all_rows() -> None:
    """Planning captures those of a batch."""

    class Branching(Toy):
        def scores(self, model: Any, rows: Any) -> dict[str, Any]:
            loss = self.loss(model, rows)
            return {"val_loss": loss * 2 if len(rows[0]) == 5 and loss > 0 else loss}

    trained = [member(Branching(), trial, lr=0.03 * (trial + 1)) for trial in range(2)]
    found, expected = (finish(engine, trained) for engine in (Population(2), Sequential(2)))
    for each in trained:
        assert found[each][-1].metrics == pytest.approx(expected[each][-1].metrics, rel=1e-4)


def plain_loop_float32(each: Member) -> nn.Module:
    task = each.task
    model = initial_module(task, each.seed, each.replicate)
    optimizer = torch.optim.Adam(model.parameters(), lr=each.hyperparameters["lr"])
    for step in range(task.steps):
        (index,) = batch_indices(task, each.seed, each.replicate, step, step + 1)
        optimizer.zero_grad()
        task.loss(model, take_rows(task.train, index)).backward()
        optimizer.step()
    return model.eval()


def test_the_members_of_a_replicate_draw_alike_and_others_do_not() -> None:
    """Common random numbers: trials of one training seed differ in their settings alone."""
    task = OWN["dropout"]
    first, second, other = member(task, 0), member(task, 1), member(task, 2, replicate=1)
    for engine in (Population(3), Sequential(3)):
        found = finish(engine, [first, second, other])
        assert [x.metrics for x in found[first]] == [x.metrics for x in found[second]]
        assert [x.metrics for x in found[first]] != [x.metrics for x in found[other]]


def test_metrics_that_draw_are_the_same_whatever_the_threads() -> None:
    def noisy(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
        return squared(model, inputs + 0.1 * torch.randn_like(inputs), target)

    task = Toy(plain, noisy)
    trained = [member(task, trial, lr=0.01 * (trial + 1)) for trial in range(8)]
    state = torch.random.get_rng_state()
    found = [finish(engine, trained) for engine in (Population(8), Population(8, threads=4))]
    assert torch.equal(torch.random.get_rng_state(), state)
    found.append(finish(Sequential(8), trained))
    for each in trained:
        first, *others = ([x.metrics["val_loss"] for x in engine[each]] for engine in found)
        for other in others:
            assert other == pytest.approx(first, rel=1e-5)


def test_a_member_admitted_later_draws_what_it_draws_alone() -> None:
    task = OWN["batch norm"]
    dropping = OWN["dropout"]
    for own in (task, dropping):
        early, late = member(own, 0, lr=0.01), member(own, 1, lr=0.02)
        engine = Population(2, dtype=torch.float64)
        engine.admit([early])
        engine.advance()
        engine.admit([late])
        found = finish(engine)[late]
        alone = finish(Population(1, dtype=torch.float64), [late])[late]
        for one, other in zip(found, alone, strict=True):
            assert one.metrics == pytest.approx(other.metrics, rel=1e-9)


def test_a_member_that_waits_keeps_its_buffers() -> None:
    """The last interval is shorter: a member that has finished it waits for the others."""
    task = Toy(OWN["batch norm"].make, steps=5, evaluate_every=3)
    early, late = member(task, 0, lr=0.01), member(task, 1, lr=0.02)
    engine = Population(2, dtype=torch.float64)
    engine.admit([early])
    engine.advance()
    engine.admit([late])
    found = finish(engine)
    alone = finish(Population(1, dtype=torch.float64), [early])[early]
    assert found[early][-1].metrics == pytest.approx(alone[-1].metrics, rel=1e-9)
    assert math.isfinite(found[late][-1].metrics["val_loss"])


@pytest.mark.parametrize("name", ["dropout", "batch norm", "spectral norm"])
def test_a_restored_engine_continues_to_the_last_bit(name: str) -> None:
    trained = members(OWN[name])
    for make in (Population, Sequential):
        engine, restored = make(4), make(4)
        engine.admit(trained)
        engine.advance()
        restored.restore(trained, engine.state())
        expected = finish(engine)
        for each, evaluations in finish(restored).items():
            assert [x.metrics for x in evaluations] == [x.metrics for x in expected[each]]


class TrainsAnother(nn.Module):
    """Trains a second layer if two decisions are others than at planning, but not if only one is."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.second = head(), head()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(x)
        if self.head.weight.abs().max() > 5 and self.head.bias.abs().max() > 5:
            return out + self.second(x)
        return out


def test_a_step_that_trains_other_weights_than_recorded_is_an_error() -> None:
    """Weights without a gradient are left alone, and in lockstep these are the same for all members."""
    task = Toy(TrainsAnother)
    assert make_plan(task, "auto", 2, "cpu", 1).engine == "population"
    finish(Population(1), [member(task, lr=1e-3)])
    with pytest.raises(UsageError, match=r"other weights .*: second\.\w+ has a gradient now; .* sequential"):
        finish(Population(1), [member(task, lr=30.0)])
