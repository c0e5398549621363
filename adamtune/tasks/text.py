"""Texts as characters, in windows of ``context + 1``: the Python language reference, or a user's file.

Every CPython has the reference. It depends on the version of Python, and so does the hash of the data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from adamtune.errors import UsageError
from adamtune.tasks.data import Data

UNKNOWN = 0
"""The id of all characters that do not occur in the training part."""

HELD_OUT_WINDOWS = 256


@dataclass(frozen=True, eq=False)
class Text(Data):
    """Windows of a text: the rows of each part are an int64 tensor ``[windows, context + 1]``."""

    vocabulary: int = field(kw_only=True)
    """Distinct ids, ``UNKNOWN`` included."""


@lru_cache(maxsize=8)
def python_reference(context: int) -> Text:
    """The windows of the reference."""
    return windows(read(), context)


def read_text(path: Path, context: int) -> Text:
    """The windows of a user's file.

    Raises:
        UsageError: it cannot be read, is no text in UTF-8, or is too short; the message names it.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is no text in UTF-8 (byte {error.start}): save it in UTF-8") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}: give a text file") from error
    least = 25 * (context + 1) // 2 + 1
    if len(text) < least:
        raise UsageError(
            f"{path}: has {len(text):,} characters; context {context} needs at least {least:,}: give a longer"
            " text, or a smaller context"
        )
    return windows(text, context)


def windows(text: str, context: int) -> Text:
    """The first 64 % of a text for training, the next 16 % for validation, the last fifth for the test.

    ``context`` characters between two parts are left out. Training rows are all windows, as a view of the
    text. Each other part has at most ``HELD_OUT_WINDOWS`` windows, evenly spaced, that do not overlap.
    """
    cut, last = len(text) * 16 // 25, len(text) * 4 // 5
    ids = {character: i for i, character in enumerate(sorted(set(text[:cut])), start=UNKNOWN + 1)}
    tokens = torch.tensor([ids.get(character, UNKNOWN) for character in text])
    held_out = tokens[cut + context : last], tokens[last + context :]
    validation, test = ((_spaced_windows(each, context + 1),) for each in held_out)
    train = (tokens[:cut].unfold(0, context + 1, 1),)
    return Text(train, validation, test, vocabulary=len(ids) + 1)


def read() -> str:
    """The text of all topics of the reference, in the order of their names."""
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics))


def _spaced_windows(tokens: Tensor, length: int) -> Tensor:
    count = min(HELD_OUT_WINDOWS, len(tokens) // length)
    return tokens.unfold(0, length, len(tokens) // count)[:count].contiguous()
