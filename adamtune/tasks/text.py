"""The Python language reference as characters, in windows of ``context + 1``.

Every CPython has the text. It depends on the version of Python, and so does the hash of the data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor

from adamtune.tasks.data import Data

UNKNOWN = 0
"""The id of all characters that do not occur in the training part."""

VALIDATION_WINDOWS = 256


@dataclass(frozen=True, eq=False)
class Text(Data):
    """Windows of a text: training and validation rows are an int64 tensor ``[windows, context + 1]`` each."""

    vocabulary: int = field(kw_only=True)
    """Distinct ids, ``UNKNOWN`` included."""


@lru_cache(maxsize=8)
def python_reference(context: int) -> Text:
    """The first nine tenths of the text for training, the last tenth for validation.

    ``context`` characters between the two are left out. Training rows are all windows, as a view of the text.
    Validation rows are at most ``VALIDATION_WINDOWS`` windows, evenly spaced, that do not overlap.
    """
    text = read()
    cut = len(text) * 9 // 10
    ids = {character: i for i, character in enumerate(sorted(set(text[:cut])), start=UNKNOWN + 1)}
    tokens = torch.tensor([ids.get(character, UNKNOWN) for character in text])
    train, held_out = tokens[:cut], tokens[cut + context :]
    validation = _spaced_windows(held_out, context + 1)
    return Text((train.unfold(0, context + 1, 1),), (validation,), vocabulary=len(ids) + 1)


def read() -> str:
    """The text of all topics of the reference, in the order of their names."""
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics))


def _spaced_windows(tokens: Tensor, length: int) -> Tensor:
    count = min(VALIDATION_WINDOWS, len(tokens) // length)
    return tokens.unfold(0, length, len(tokens) // count)[:count].contiguous()
