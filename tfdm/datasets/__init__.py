"""Image data sets: prepared once to memory-mapped bytes, read by index.

  load_dataset     a data set by name, prepared in the cache folder when it is not there yet
  ImageDataset     its splits, uint8 [N, H, W, C], and the digest of its pixels
  batch_indices    which examples a batch holds: a pure function of (seed, step)
  train_batches    those batches as a `tf.data.Dataset`

TensorFlow loads with `train_batches` or with a set that TFDS reads, not with this package.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "ImageDataset": "tfdm.datasets.dataset",
    "load_dataset": "tfdm.datasets.load",
    "batch_indices": "tfdm.datasets.order",
    "train_batches": "tfdm.datasets.pipeline",
}

__all__ = ["ImageDataset", "batch_indices", "load_dataset", "train_batches"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tfdm.datasets' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
