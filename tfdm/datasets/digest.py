"""Digests of prepared arrays, in blocks, so that large files can be checked in part.

A file's pixels are cut into blocks of 64 MiB, each with its SHA-256; the digest of a data set
is the SHA-256 of its splits' names, shapes and block digests. Checking CelebA's 2.5 GB at 64x64
costs about 1.5 s. Above 4 GiB only blocks that add up to 4 GiB, evenly spread, are read again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

BLOCK_BYTES = 64 * 2**20
CHECKED_BYTES = 4 * 2**30

_READ_BYTES = 2**20
_THREADS = 2


def block_digests(path: Path, blocks: Sequence[int] | None = None) -> list[str]:
    """Returns the SHA-256 (hex) of blocks, by default all, of the pixels in a `.npy` file.

    It is read, not mapped: that would count as memory of the process. `OSError` or `ValueError`
    says that it is no complete array.
    """
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    offset, size = array.offset, array.nbytes
    del array

    def digest(block: int) -> str:
        left = min(BLOCK_BYTES, size - block * BLOCK_BYTES)
        sha256 = hashlib.sha256()
        with open(path, "rb") as file:
            file.seek(offset + block * BLOCK_BYTES)
            while left > 0:
                data = file.read(min(left, _READ_BYTES))
                if not data:
                    raise ValueError(f"{path} ends early")
                sha256.update(data)
                left -= len(data)
        return sha256.hexdigest()

    with ThreadPoolExecutor(_THREADS) as pool:
        every = range(-(-size // BLOCK_BYTES))
        return list(pool.map(digest, every if blocks is None else blocks))


def array_block_digests(array: np.ndarray) -> list[str]:
    """Returns what `block_digests` returns for a file of this array."""
    content = np.ascontiguousarray(array).data.cast("B")
    starts = range(0, len(content), BLOCK_BYTES)
    return [hashlib.sha256(content[i : i + BLOCK_BYTES]).hexdigest() for i in starts]


def dataset_digest(splits: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the SHA-256 (hex) of splits {"shape": [N, H, W, C], "blocks": [hex, ..]}."""
    content = [[name, list(r["shape"]), list(r["blocks"])] for name, r in sorted(splits.items())]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def blocks_to_check(num_blocks: int, checked_bytes: int = CHECKED_BYTES) -> list[int]:
    """Returns the blocks to read again: all, or as many as fit `checked_bytes`, evenly spread."""
    count = max(1, min(num_blocks, checked_bytes // BLOCK_BYTES))
    return sorted({round(i) for i in np.linspace(0, num_blocks - 1, count)})
