"""Models of every kind that people train, small: what ``benchmarks.zoo`` trains."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adamtune.tasks.base import Task
from adamtune.tasks.data import Data

Loss = Callable[..., Tensor]
"""Takes the model and the tensors of a batch."""
Rows = Callable[[int], tuple[Tensor, ...]]
"""Takes a number of rows and draws them."""


@dataclass(frozen=True)
class Model:
    """A model, its loss and its data."""

    make: Callable[[], nn.Module]
    loss: Loss
    rows: Rows
    batch: int = 32


def regression(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.mse_loss(model(x).squeeze(-1), y)


def classification(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(model(x), y)


def next_token(model: nn.Module, tokens: Tensor) -> Tensor:
    return F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())


def table(features: int = 20) -> Rows:
    def rows(count: int) -> tuple[Tensor, ...]:
        x = torch.randn(count, features)
        return x, x[:, :3].sum(1).tanh() + 0.1 * torch.randn(count)

    return rows


def images(size: int = 16, channels: int = 3) -> Rows:
    return lambda count: (torch.randn(count, channels, size, size), torch.randint(10, (count,)))


def series(length: int = 24, width: int = 8) -> Rows:
    return lambda count: (torch.randn(count, length, width), torch.randn(count))


def tokens(length: int = 24) -> Rows:
    return lambda count: (torch.randint(1, 64, (count, length)),)


def labelled_tokens(length: int = 24) -> Rows:
    return lambda count: (torch.randint(0, 64, (count, length)), torch.randint(2, (count,)))


def mlp(*between: Callable[[], nn.Module], widths: Sequence[int] = (20, 64, 64, 1)) -> nn.Sequential:
    layers: list[nn.Module] = []
    for first, second in pairwise(widths[:-1]):
        layers += [nn.Linear(first, second), *(make() for make in between or (nn.ReLU,))]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


class Function(nn.Module):
    """A model whose forward is a function of itself and its input; keywords are its parts."""

    def __init__(self, function: Callable[..., Any], **parts: nn.Module | nn.Parameter | Tensor) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            if isinstance(part, nn.Module | nn.Parameter):
                setattr(self, name, part)
            else:
                self.register_buffer(name, part)

    def forward(self, *inputs: Any) -> Any:
        """The function of the model and its inputs."""
        return self.function(self, *inputs)


def residual(norm: Callable[[int], nn.Module], width: int = 16) -> nn.Module:
    def block(inner: int, outer: int, stride: int) -> nn.Module:
        return Function(
            lambda self, x: F.relu(self.body(x) + self.short(x)),
            body=nn.Sequential(
                nn.Conv2d(inner, outer, 3, stride, 1, bias=False),
                norm(outer),
                nn.ReLU(inplace=True),
                nn.Conv2d(outer, outer, 3, 1, 1, bias=False),
                norm(outer),
            ),
            short=nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), norm(outer)),
        )

    blocks = block(3, width, 1), block(width, 2 * width, 2), block(2 * width, 4 * width, 2)
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, 10))


def convolutions(*widths: int) -> nn.Module:
    """Two convolutions of each width, then pooling, as in VGG."""
    layers: list[nn.Module] = []
    for before, width in pairwise((3, *widths)):
        first, second = nn.Conv2d(before, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        layers += [first, nn.ReLU(), second, nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * widths[-1], 10))


def depthwise() -> nn.Module:
    def block(width: int) -> nn.Module:
        layers = nn.Conv2d(width, width, 3, padding=1, groups=width), nn.BatchNorm2d(width), nn.Hardswish()
        return nn.Sequential(*layers, nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.Hardswish())

    stem = nn.Conv2d(3, 24, 3, 2, 1)
    return nn.Sequential(stem, block(24), block(24), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10))


def unet() -> nn.Module:
    def forward(self: Any, x: Tensor) -> Any:
        first = self.down(x)
        middle = self.up(self.middle(F.max_pool2d(first, 2)))
        return self.out(torch.cat([first, middle], 1)).squeeze(1)

    def pair(inner: int, outer: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(inner, outer, 3, padding=1), nn.GroupNorm(4, outer), nn.SiLU())

    up, out = nn.ConvTranspose2d(16, 8, 2, 2), nn.Conv2d(16, 1, 1)
    return Function(forward, down=pair(1, 8), middle=pair(8, 16), up=up, out=out)


def temporal() -> nn.Module:
    def forward(self: Any, x: Tensor) -> Any:
        x = x.transpose(1, 2)
        for index, layer in enumerate(self.layers):
            x = F.relu(layer(F.pad(x, (2 * 2**index, 0))))
        return self.head(x[..., -1])

    layers = [nn.Conv1d(8 if index == 0 else 24, 24, 3, dilation=2**index) for index in range(3)]
    return Function(forward, layers=nn.ModuleList(layers), head=nn.Linear(24, 1))


def recurrent(kind: Any, **options: Any) -> nn.Module:
    width = 32 * (2 if options.get("bidirectional") else 1)
    layer = kind(8, 32, batch_first=True, **options)
    return Function(lambda self, x: self.head(self.layer(x)[0][:, -1]), layer=layer, head=nn.Linear(width, 1))


def recurrent_cell() -> nn.Module:
    def forward(self: Any, x: Tensor) -> Any:
        h = x.new_zeros(len(x), 32)
        for part in x.unbind(1):
            h = self.cell(part, h)
        return self.head(h)

    return Function(forward, cell=nn.GRUCell(8, 32), head=nn.Linear(32, 1))


def encoder(dropout: float, norm_first: bool = False, padded: bool = False) -> nn.Module:
    def forward(self: Any, x: Tensor) -> Any:
        mask = (x == 0) if padded else None
        return self.head(self.layers(self.table(x) + self.places, src_key_padding_mask=mask).mean(1))

    layer = nn.TransformerEncoderLayer(32, 4, 64, dropout, batch_first=True, norm_first=norm_first)
    return Function(
        forward,
        table=nn.Embedding(64, 32, padding_idx=0 if padded else None),
        places=nn.Parameter(torch.zeros(1, 24, 32)),
        layers=nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
        head=nn.Linear(32, 2),
    )


def rotary(width: int = 32, heads: int = 2) -> nn.Module:
    """A language model with RMS norms, gated linear units, rotary positions and tied embeddings."""

    def rotated(self: Any, x: Tensor) -> Any:
        first, second = x.chunk(2, -1)
        length = x.shape[-2]
        return x * self.cos[:length] + torch.cat([-second, first], -1) * self.sin[:length]

    def forward(self: Any, tokens: Tensor) -> Any:
        x = self.table(tokens)
        for block in self.blocks:
            split = block["qkv"](block["first"](x)).unflatten(-1, (3, heads, -1))
            q, k, v = split.permute(2, 0, 3, 1, 4).unbind(0)
            mixed = F.scaled_dot_product_attention(rotated(self, q), rotated(self, k), v, is_causal=True)
            x = x + block["out"](mixed.transpose(1, 2).flatten(2))
            y = block["second"](x)
            x = x + block["down"](F.silu(block["gate"](y)) * block["up"](y))
        return F.linear(self.norm(x), self.table.weight)

    def block() -> nn.ModuleDict:
        linear = {"qkv": (width, 3 * width), "out": (width, width), "gate": (width, 64), "up": (width, 64)}
        parts = {name: nn.Linear(*sizes, bias=False) for name, sizes in linear.items()}
        norms = {"first": nn.RMSNorm(width), "second": nn.RMSNorm(width)}
        return nn.ModuleDict({**parts, **norms, "down": nn.Linear(64, width, bias=False)})

    angles = torch.outer(torch.arange(32.0), 1e4 ** (-torch.arange(0, width // heads, 2) / (width // heads)))
    return Function(
        forward,
        table=nn.Embedding(64, width),
        blocks=nn.ModuleList([block(), block()]),
        norm=nn.RMSNorm(width),
        cos=angles.cos().repeat(1, 2),
        sin=angles.sin().repeat(1, 2),
    )


def vision_transformer() -> nn.Module:
    def forward(self: Any, x: Tensor) -> Any:
        patches = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(self.layers(patches + self.places).mean(1))

    layer = nn.TransformerEncoderLayer(48, 3, 96, 0.0, "gelu", batch_first=True, norm_first=True)
    return Function(
        forward,
        patches=nn.Conv2d(3, 48, 4, 4),
        places=nn.Parameter(torch.zeros(1, 16, 48)),
        layers=nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
        head=nn.Linear(48, 10),
    )


def attention() -> nn.Module:
    def forward(self: Any, x: Tensor) -> Any:
        y = self.first(x)
        return self.head(self.attention(y, y, y)[0].mean(1))

    return Function(
        forward,
        first=nn.Linear(8, 32),
        attention=nn.MultiheadAttention(32, 4, batch_first=True),
        head=nn.Linear(32, 1),
    )


def recommender() -> nn.Module:
    def forward(self: Any, user: Tensor, item: Tensor, history: Tensor) -> Any:
        parts = self.users(user), self.items(item), self.history(history)
        return self.head(torch.cat(parts, -1)).squeeze(-1)

    return Function(
        forward,
        users=nn.Embedding(500, 16),
        items=nn.Embedding(800, 16),
        history=nn.EmbeddingBag(800, 16, mode="mean"),
        head=mlp(widths=(48, 32, 1)),
    )


def clicked(model: nn.Module, user: Tensor, item: Tensor, history: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(model(user, item, history), y)


def clicks(count: int) -> tuple[Tensor, ...]:
    shape = (count,)
    seen = torch.randint(800, (count, 10))
    return torch.randint(500, shape), torch.randint(800, shape), seen, torch.randint(2, shape).float()


def autoencoder() -> nn.Module:
    """With tied weights."""
    return Function(
        lambda self, x: F.linear(torch.tanh(self.first(x)), self.first.weight.t(), self.bias),
        first=nn.Linear(20, 8),
        bias=nn.Parameter(torch.zeros(20)),
    )


def reconstruction(model: nn.Module, x: Tensor, _: Tensor) -> Tensor:
    return F.mse_loss(model(x), x)


def variational() -> nn.Module:
    return Function(lambda self, x: None, encoder=nn.Linear(20, 16), decoder=mlp(widths=(8, 32, 20)))


def evidence(model: Any, x: Tensor, _: Tensor) -> Any:
    mean, log_variance = model.encoder(x).chunk(2, -1)
    drawn = mean + torch.randn_like(mean) * (log_variance / 2).exp()
    divergence = (1 + log_variance - mean.square() - log_variance.exp()).mean()
    return F.mse_loss(model.decoder(drawn), x) - 1e-3 * divergence


def frozen() -> nn.Module:
    model = mlp(widths=(20, 64, 64, 1))
    model[0].requires_grad_(False)
    return model


def low_rank() -> nn.Module:
    return Function(
        lambda self, x: self.head(F.relu(self.base(x) + x @ self.down.t() @ self.up.t())),
        base=nn.Linear(20, 64).requires_grad_(False),
        down=nn.Parameter(0.1 * torch.randn(4, 20)),
        up=nn.Parameter(torch.zeros(64, 4)),
        head=nn.Linear(64, 1),
    )


def unused() -> nn.Module:
    return Function(lambda self, x: self.body(x), body=mlp(), auxiliary=nn.Linear(20, 3))


def experts() -> nn.Module:
    """A mixture of four experts, each computed for every row."""

    def forward(self: Any, x: Tensor) -> Any:
        weights, chosen = self.gate(x).softmax(-1).topk(2, -1)
        shares = x.new_zeros(len(x), 4).scatter(1, chosen, weights)
        found = torch.stack([each(x) for each in self.experts], 1).squeeze(-1)
        return (found * shares).sum(1, keepdim=True)

    each = [mlp(widths=(20, 32, 1)) for _ in range(4)]
    return Function(forward, gate=nn.Linear(20, 4), experts=nn.ModuleList(each))


def spectral_operator() -> nn.Module:
    """A Fourier neural operator, with complex weights."""

    def forward(self: Any, x: Tensor) -> Any:
        y = self.first(x).transpose(1, 2)
        modes = torch.einsum("bim,iom->bom", torch.fft.rfft(y)[..., :8], self.weight.to(y.dtype.to_complex()))
        y = F.gelu(torch.fft.irfft(F.pad(modes, (0, 5)), n=24) + y)
        return self.head(y.mean(-1))

    weight = nn.Parameter(0.05 * torch.randn(16, 16, 8, dtype=torch.complex64))
    return Function(forward, first=nn.Linear(8, 16), weight=weight, head=nn.Linear(16, 1))


def physics(model: nn.Module, x: Tensor) -> Any:
    """The heat equation, with second derivatives by the input."""
    x = x.clone().requires_grad_()
    (first,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first[:, 0].sum(), x, create_graph=True)
    start = model(x * x.new_tensor([1.0, 0.0])).squeeze(-1)
    return (first[:, 1] - 0.1 * second[:, 0]).square().mean() + F.mse_loss(
        start, torch.sin(math.pi * x[:, 0])
    )


def functional_physics(model: nn.Module, x: Tensor) -> Any:
    slope = torch.func.vmap(torch.func.grad(lambda point: model(point[None])[0, 0]))(x)
    return slope.square().mean() + F.mse_loss(model(x).squeeze(-1), torch.sin(math.pi * x[:, 0]))


def contrastive(model: nn.Module, x: Tensor, _: Tensor) -> Tensor:
    first, second = F.normalize(model(x), dim=-1), F.normalize(model(x + 0.1), dim=-1)
    similar = first @ second.t() / 0.1
    return F.cross_entropy(similar, torch.arange(len(x), device=x.device))


def mixed(model: nn.Module, x: Tensor, y: Tensor) -> Any:
    share, order = torch.rand(len(x), 1, device=x.device).to(x.dtype), torch.randperm(len(x), device=x.device)
    found = model(share * x + (1 - share) * x[order]).squeeze(-1)
    return F.mse_loss(found, share[:, 0] * y + (1 - share[:, 0]) * y[order])


def low_precision(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        found = model(x)
    return F.mse_loss(found.squeeze(-1).to(y.dtype), y)


def weighted(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    weights = torch.tensor([1.0, 2.0, 1.0, 3.0, 1.0], dtype=x.dtype, device=x.device)
    return F.cross_entropy(model(x), (y * 2).long().clamp(0, 4), weights, label_smoothing=0.1)


def focal(model: nn.Module, x: Tensor, y: Tensor) -> Any:
    found = model(x).squeeze(-1)
    plain = F.binary_cross_entropy_with_logits(found, (y > 0).to(found.dtype), reduction="none")
    return ((1 - (-plain).exp()) ** 2 * plain).mean() + F.huber_loss(found, y)


def segmentation(model: nn.Module, x: Tensor, y: Tensor) -> Any:
    found = model(x)
    share = found.sigmoid()
    dice = 1 - (2 * (share * y).sum() + 1) / (share.sum() + y.sum() + 1)
    return F.binary_cross_entropy_with_logits(found, y) + dice


def masks(count: int) -> tuple[Tensor, ...]:
    return torch.randn(count, 1, 16, 16), (torch.rand(count, 16, 16) > 0.5).float()


def branching(model: nn.Module, x: Tensor, y: Tensor) -> Any:
    loss = regression(model, x, y)
    return loss * 0.5 if loss > 10 else loss


def hugging_face(name: str, **changed: Any) -> Callable[[], nn.Module]:
    """A model of ``transformers`` from its configuration, two layers deep."""

    def make() -> nn.Module:
        import transformers  # type: ignore[import-not-found, unused-ignore]

        sizes = {
            "Bert": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
            "GPT2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "bos_token_id": 0, "eos_token_id": 0},
            "Llama": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
        }
        more = {} if name == "GPT2" else {"intermediate_size": 64}
        config = getattr(transformers, f"{name}Config")(vocab_size=64, **sizes[name], **more, **changed)
        kind = f"{name}ForSequenceClassification" if name == "Bert" else f"{name}LMHeadModel"
        kind = "LlamaForCausalLM" if name == "Llama" else kind
        made: nn.Module = getattr(transformers, kind)(config)
        return made

    return make


def masked(model: nn.Module, tokens: Tensor, y: Tensor) -> Tensor:
    loss: Tensor = model(input_ids=tokens, attention_mask=(tokens > 4).long(), labels=y).loss
    return loss


def causal(model: nn.Module, tokens: Tensor) -> Tensor:
    loss: Tensor = model(input_ids=tokens, labels=tokens).loss
    return loss


def timm(name: str, **options: Any) -> Callable[[], nn.Module]:
    """A model of ``timm`` without its trained weights."""

    def make() -> nn.Module:
        import timm as package  # type: ignore[import-not-found, unused-ignore]

        made: nn.Module = package.create_model(name, num_classes=10, **options)
        return made

    return make


norm = nn.utils.parametrizations.weight_norm
spectral = nn.utils.parametrizations.spectral_norm

MODELS: dict[str, Model] = {
    "mlp": Model(mlp, regression, table()),
    "mlp, wide": Model(lambda: mlp(widths=(20, 512, 512, 1)), regression, table()),
    "mlp with dropout": Model(lambda: mlp(nn.ReLU, lambda: nn.Dropout(0.1)), regression, table()),
    "mlp with batch norm": Model(
        lambda: mlp(nn.LazyBatchNorm1d, nn.ReLU, lambda: nn.Dropout(0.1)), regression, table()
    ),
    "mlp with layer norm": Model(lambda: mlp(lambda: nn.LayerNorm(64), nn.GELU), regression, table()),
    "mlp of activations": Model(lambda: mlp(nn.SiLU, nn.Mish, nn.ELU, nn.PReLU), regression, table()),
    "mlp with weight norm": Model(
        lambda: nn.Sequential(norm(nn.Linear(20, 32)), nn.ReLU(), nn.Linear(32, 1)), regression, table()
    ),
    "mlp with spectral norm": Model(
        lambda: nn.Sequential(spectral(nn.Linear(20, 32)), nn.ReLU(), nn.Linear(32, 1)), regression, table()
    ),
    "mlp in bfloat16": Model(mlp, low_precision, table()),
    "mixup": Model(mlp, mixed, table()),
    "class weights": Model(lambda: mlp(widths=(20, 64, 5)), weighted, table()),
    "focal and Huber losses": Model(mlp, focal, table()),
    "contrastive": Model(lambda: mlp(widths=(20, 64, 32)), contrastive, table()),
    "tied autoencoder": Model(autoencoder, reconstruction, table()),
    "variational autoencoder": Model(variational, evidence, table()),
    "frozen layer": Model(frozen, regression, table()),
    "low-rank adaptation": Model(low_rank, regression, table()),
    "unused head": Model(unused, regression, table()),
    "mixture of experts": Model(experts, regression, table()),
    "physics, create_graph": Model(
        lambda: mlp(nn.Tanh, widths=(2, 32, 32, 1)), physics, lambda n: (torch.rand(n, 2),)
    ),
    "physics, torch.func": Model(
        lambda: mlp(nn.Tanh, widths=(2, 32, 32, 1)), functional_physics, lambda n: (torch.rand(n, 2),)
    ),
    "Fourier operator": Model(spectral_operator, regression, series()),
    "recommender": Model(recommender, clicked, clicks, 64),
    "LSTM": Model(lambda: recurrent(nn.LSTM), regression, series()),
    "LSTM, two layers, both ways": Model(
        lambda: recurrent(nn.LSTM, num_layers=2, dropout=0.1, bidirectional=True), regression, series()
    ),
    "GRU": Model(lambda: recurrent(nn.GRU), regression, series()),
    "GRU cell": Model(recurrent_cell, regression, series()),
    "temporal convolutions": Model(temporal, regression, series()),
    "attention with its weights": Model(attention, regression, series()),
    "ResNet, batch norm": Model(lambda: residual(nn.BatchNorm2d), classification, images(), 16),
    "ResNet, group norm": Model(
        lambda: residual(lambda width: nn.GroupNorm(8, width)), classification, images(), 16
    ),
    "ResNet, wide": Model(lambda: residual(nn.BatchNorm2d, 64), classification, images(), 16),
    "convolutions, wide": Model(lambda: convolutions(64, 128), classification, images(32), 16),
    "depthwise convolutions": Model(depthwise, classification, images(), 16),
    "U-Net": Model(unet, segmentation, masks, 16),
    "vision transformer": Model(vision_transformer, classification, images(), 16),
    "transformer encoder": Model(lambda: encoder(0.0), classification, labelled_tokens()),
    "transformer encoder, dropout": Model(lambda: encoder(0.1), classification, labelled_tokens()),
    "transformer encoder, padding": Model(
        lambda: encoder(0.1, True, True), classification, labelled_tokens()
    ),
    "rotary language model": Model(rotary, next_token, tokens()),
    "a branch on the loss": Model(mlp, branching, table()),
    "GPT-2 (transformers)": Model(hugging_face("GPT2", n_positions=32), causal, tokens()),
    "Llama (transformers)": Model(hugging_face("Llama", num_key_value_heads=1), causal, tokens()),
    "BERT with a mask (transformers)": Model(hugging_face("Bert"), masked, labelled_tokens()),
    "MobileNet (timm)": Model(timm("mobilenetv3_small_050"), classification, images(32), 16),
    "ConvNeXt (timm)": Model(
        timm("convnext_atto", depths=(1, 1, 2, 1), dims=(20, 40, 80, 160)), classification, images(32), 16
    ),
}

ROWS = 256


# Not in the script that is run, whose classes other processes cannot import.
class Zoo(Task):
    """A model of the zoo."""

    name: str
    steps: int = 200
    batch_size: int = 32

    def data(self) -> Data:
        """Random rows."""
        torch.manual_seed(0)
        rows = MODELS[self.name].rows
        return Data(train=rows(ROWS), validation=rows(64))

    def model(self) -> nn.Module:
        """The model of that name."""
        return MODELS[self.name].make()

    def loss(self, model: Any, batch: Any) -> Tensor:
        """Its loss."""
        return MODELS[self.name].loss(model, *batch)
