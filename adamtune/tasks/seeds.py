"""Seeds that depend on what is drawn, never on how many draws came before."""

from __future__ import annotations

import json
from hashlib import sha256


def derive(*parts: int | str) -> int:
    """A seed for the draw that ``parts`` name, such as ``derive(seed, "weights", replicate)``.

    The first 32 bits of the SHA-256 of the parts as a JSON array: as many as both torch's CPU
    generator and NumPy's ``RandomState`` take. Equal parts give equal seeds on every machine and
    Python version; 1 and "1" are different parts.

    Returns:
        an integer in [0, 2**32).
    """
    return int.from_bytes(sha256(json.dumps(parts).encode()).digest()[:4])
