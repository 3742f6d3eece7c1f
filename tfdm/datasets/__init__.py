"""Image data sets: prepared once to memory-mapped bytes, read by index.

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
