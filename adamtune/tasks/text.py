"""The Python language reference as characters, cut into windows of ``context + 1``.

The text comes with every CPython and differs by its version; the hash tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from adamtune.tasks.datasets import Split, fingerprint

UNKNOWN = 0
"""The id of every character that the training part does not have."""

VALIDATION_WINDOWS = 256


@dataclass(frozen=True, eq=False)
class Text(Split):
    """Windows of a text: one int64 tensor ``[windows, context + 1]`` on each side."""

    vocabulary: int
    """Distinct ids, ``UNKNOWN`` included."""


@lru_cache(maxsize=8)
def python_reference(context: int) -> Text:
    """The first nine tenths for training, the last tenth for validation, ``context`` characters between.

    Training rows are all windows, as a view of the text; validation rows are at most
    ``VALIDATION_WINDOWS`` windows, evenly spaced, that do not overlap.
    """
    text = read()
    cut = len(text) * 9 // 10
    ids = {character: i for i, character in enumerate(sorted(set(text[:cut])), start=UNKNOWN + 1)}
    tokens = torch.tensor([ids.get(character, UNKNOWN) for character in text])
    train, held_out = tokens[:cut], tokens[cut + context :]
    validation = _spaced_windows(held_out, context + 1)
    # The hash is of the text, not of its windows, which repeat every character context + 1 times.
    return Text(
        (train.unfold(0, context + 1, 1),),
        (validation,),
        fingerprint(train, validation),
        vocabulary=len(ids) + 1,
    )


def read() -> str:
    """The reference's topics, in the order of their names."""
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics))


def _spaced_windows(tokens: Tensor, length: int) -> Tensor:
    count = min(VALIDATION_WINDOWS, len(tokens) // length)
    return tokens.unfold(0, length, len(tokens) // count)[:count].contiguous()
