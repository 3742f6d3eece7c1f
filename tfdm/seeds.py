"""Named random streams: everything drawn is a function of (seed, name, index).

A stream is named by what it draws, such as `"kl/prior"`, and indexed by where it is drawn, such as
a block or a step. The whole key is hashed, so that two different keys never meet; NumPy itself pads
keys with zeros (`[5, 1]` and `[5, 1, 0]` seed one stream).
"""

from __future__ import annotations

import hashlib
import operator

import numpy as np


def stream(seed: int, name: str, *index: int) -> np.random.Generator:
    """Returns the generator of a stream; `ValueError` refuses negative numbers."""
    return np.random.default_rng(np.random.SeedSequence(_key(seed, name, index)))


def derive(seed: int, name: str, *index: int, bits: int = 63) -> int:
    """Returns a seed of up to 63 bits from the arguments of `stream`; Keras's layers take 31."""
    state = np.random.SeedSequence(_key(seed, name, index)).generate_state(1, np.uint64)
    return int(state[0]) >> (64 - bits)


def _key(seed: int, name: str, index: tuple[int, ...]) -> list[int]:
    numbers = [operator.index(number) for number in (seed, *index)]
    if min(numbers) < 0:
        raise ValueError(f"seed and index are {numbers}, expected numbers of at least 0")
    digest = hashlib.sha256(repr((name, numbers)).encode()).digest()
    return [int.from_bytes(digest[i : i + 4], "little") for i in range(0, len(digest), 4)]
