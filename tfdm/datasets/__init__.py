"""Image data sets: prepared once to memory-mapped bytes, read by index.

  load_dataset     a data set by name, prepared in the cache folder when it is not there yet
  from_array       images in memory as a data set
  open_dataset     either of them, or a data set that a caller has
  ImageDataset     its splits, uint8 [N, H, W, C], and the digest of its pixels
  batch_indices    which examples a batch holds: a pure function of (seed, step)
  train_batches    those batches as a `tf.data.Dataset`

TensorFlow loads with `train_batches` or with a set that TFDS reads, not with this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfdm.lazy import lazy_attributes

if TYPE_CHECKING:
    from tfdm.datasets.dataset import ImageDataset as ImageDataset
    from tfdm.datasets.load import (
        from_array as from_array,
        load_dataset as load_dataset,
        open_dataset as open_dataset,
    )
    from tfdm.datasets.order import batch_indices as batch_indices
    from tfdm.datasets.pipeline import train_batches as train_batches

__getattr__, __dir__, __all__ = lazy_attributes(__name__)
