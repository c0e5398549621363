"""Handwritten digits: images ``[rows, 1, 8, 8]``, standardised as a whole, and labels ``[rows]``."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from adamtune.tasks.data.shipped import shipped
from adamtune.tasks.data.split import Split, fingerprint, shuffle_split, standardise


@lru_cache(maxsize=1)
def digits() -> Split:
    """1,797 images of ten classes (Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, 1998)."""
    table = shipped("digits.csv.gz", delimiter=",")
    images, labels = table[:, :-1].reshape(-1, 1, 8, 8), table[:, -1]
    x_train, x_validation, y_train, y_validation = shuffle_split(
        images, labels.astype(np.int64), stratify=labels
    )
    x, held_out_x = standardise(x_train, x_validation, axis=None)
    y, held_out_y = torch.from_numpy(y_train), torch.from_numpy(y_validation)
    return Split((x, y), (held_out_x, held_out_y), fingerprint(x, y, held_out_x, held_out_y))
