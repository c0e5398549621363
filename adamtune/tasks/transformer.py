"""Next-character prediction with a small Transformer."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch.nn.functional as F
from torch import Tensor, nn

from adamtune.tasks.catalog import TransformerSettings
from adamtune.tasks.data.python_reference import Text, python_reference
from adamtune.tasks.protocol import Model, Rows
from adamtune.tasks.reference import ReferenceTask
from adamtune.tasks.rows import batches_per_epoch


class Block(nn.Module):
    """Pre-norm causal self-attention and a feed-forward network four times as wide, each added on."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        self.feedforward_norm = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def attend(self, x: Tensor) -> Tensor:
        """Causal multi-head attention, ``[batch, length, width]`` to the same."""
        split = self.qkv(x).unflatten(-1, (3, self.heads, -1))  # [batch, length, 3, heads, width / heads]
        query, key, value = split.movedim(1, 3).unbind(1)  # [batch, heads, length, width / heads] each
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.projection(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, length, width]`` to the same."""
        x = x + self.attend(self.attention_norm(x))
        return x + self.feedforward(self.feedforward_norm(x))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """A GPT-style language model (Radford et al., 2019) with learned positions."""

    def __init__(self, vocabulary: int, context: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        """Characters ``[batch, length]`` to the logits of the next ones ``[batch, length, vocabulary]``."""
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[-1]]
        return self.head(self.norm(self.blocks(x)))  # type: ignore[no-any-return]


@dataclass(frozen=True, eq=False)
class Transformer(ReferenceTask):
    """A row is a window of ``context + 1`` characters; the loss is the cross-entropy of each next one."""

    data: Text
    d_model: int
    layers: int
    heads: int

    def build(self) -> nn.Module:
        """Characters ``[batch, context]`` to logits ``[batch, context, vocabulary]``."""
        context = self.train[0].shape[1] - 1
        return Decoder(self.data.vocabulary, context, self.d_model, self.layers, self.heads)

    def loss(self, model: Model, batch: Rows) -> Tensor:
        """Mean cross-entropy of a character, in nats."""
        (windows,) = batch
        logits = model(windows[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())

    def scores(self, model: Model, rows: Rows) -> dict[str, Tensor]:
        """The loss, and the same in bits per character."""
        loss = self.loss(model, rows)
        return {"val_loss": loss, "val_bpc": loss / log(2)}


def build(settings: TransformerSettings) -> Transformer:
    """The task on its text.

    Raises:
        ValueError: the batch is larger than the text has windows.
    """
    data = python_reference(settings.context)
    batches_per_epoch(len(data.train[0]), settings.batch_size)
    return Transformer(
        data, settings.batch_size, settings.steps, settings.d_model, settings.layers, settings.heads
    )
