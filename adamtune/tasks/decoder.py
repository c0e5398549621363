"""A small GPT-style language model."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """Causal self-attention and a feed-forward network, each after a norm and with a residual connection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        self.feedforward_norm = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def attend(self, x: Tensor) -> Tensor:
        """Causal multi-head attention: ``[batch, length, width]`` -> ``[batch, length, width]``."""
        split = self.qkv(x).unflatten(-1, (3, self.heads, -1))  # [batch, length, 3, heads, width / heads]
        query, key, value = split.movedim(1, 3).unbind(1)  # [batch, heads, length, width / heads] each
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.projection(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, length, width]`` -> ``[batch, length, width]``."""
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
        """Characters ``[batch, length]`` to logits of each next character ``[batch, length, vocabulary]``."""
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[-1]]
        return self.head(self.norm(self.blocks(x)))  # type: ignore[no-any-return]
