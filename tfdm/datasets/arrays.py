"""Images that are in memory already as a data set."""

from __future__ import annotations

import re

import numpy as np

from tfdm.datasets.dataset import SPLIT_KEY, SPLITS, ImageDataset, split_indices
from tfdm.datasets.digest import array_block_digests, dataset_digest


def from_array(array: np.ndarray, name: str = "array") -> ImageDataset:
    """Returns the images of an array as a data set: 80 / 10 / 10 %, as folders are split.

    Args:
      array: uint8 [n, H, W, C], n >= 3; every split is a copy of its images in their order.
      name: what the data set is called in a run's configuration and the name of its folder.

    Raises:
      ValueError: the array is of another type or shape, or the name does not fit a folder.
    """
    if not re.fullmatch(r"[\w.-]+", name):
        raise ValueError(f"name is {name!r}, expected letters, digits, '_', '.' and '-'")
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.ndim != 4:
        given = getattr(array, "dtype", type(array).__name__)
        shape = list(getattr(array, "shape", ()))
        raise ValueError(f"images are {given} {shape}, expected an array uint8 [n, H, W, C]")
    if len(array) < len(SPLITS) or 0 in array.shape:
        raise ValueError(
            f"images have shape {list(array.shape)}, expected at least {len(SPLITS)} "
            "(train, validation, test) with pixels"
        )
    splits, records = {}, {}
    for split, indices in split_indices(len(array)).items():
        images = array[indices]
        images.flags.writeable = False
        splits[split] = images
        records[split] = {"shape": images.shape, "blocks": array_block_digests(images)}
    meta = {"source": "array", "shape": list(array.shape), **SPLIT_KEY}
    return ImageDataset(name, splits, dataset_digest(records), meta)
