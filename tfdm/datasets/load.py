"""Data sets from what a caller names them by: a name, an array, or a data set itself."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from tfdm.datasets import cache
from tfdm.datasets.dataset import SPLIT_KEY, SPLITS, ImageDataset, split_indices
from tfdm.datasets.digest import array_block_digests, dataset_digest
from tfdm.datasets.registry import DATASETS, find_dataset
from tfdm.errors import UserError

Data = str | np.ndarray | ImageDataset


def load_dataset(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    image_size: int | None = None,
    crop: int | None = None,
) -> ImageDataset:
    """Opens a data set by name, after preparing it in the cache folder the first time.

    CelebA takes minutes. A prepared copy of a TFDS set needs neither `data_dir` nor a network.

    Args:
      name: "color_mnist_5k", "color_mnist", "cifar10", "celeb_a" or "image_folder".
      data_dir: for the TFDS sets, TFDS's data folder (default: $TFDS_DATA_DIR, else TFDS's own);
        for "image_folder", the folder of images.
      cache_dir: the cache folder (default: $TFDM_CACHE_DIR, else $XDG_CACHE_HOME/tfdm, else
        ~/.cache/tfdm).
      image_size: the side of the images in pixels, for "celeb_a" and "image_folder"; None or 0
        stands for 64.
      crop: the side of the central square that is scaled to `image_size`; None or 0 stands for
        160 of "celeb_a", the largest that fits of "image_folder".

    Returns:
      Splits "train", "validation", "test", each uint8 [N, H, W, C], read-only and memory-mapped.

    Raises:
      UserError: unknown name, bad size, source missing or damaged, cache folder not writable.
    """
    entry = find_dataset(name)
    for flag, value in (("image_size", image_size), ("crop", crop)):
        if value is not None and value < 0:
            raise UserError(f"--{flag}={value} is negative: give a number of pixels")
    sizes = {"image_size": image_size or None, "crop": crop or None}
    if entry.side:
        flexible = " and ".join(other.name for other in DATASETS.values() if not other.side)
        if image_size not in (None, 0, entry.side):
            raise UserError(
                f"{name} has images of {entry.side}x{entry.side}: drop "
                f"--image_size={image_size}, which is for {flexible}"
            )
        if crop:
            raise UserError(f"{name} is not cropped: drop --crop={crop}, which is for {flexible}")
        sizes = {}
    source = entry.load()(os.path.expanduser(data_dir) if data_dir else None, **sizes)
    folder = Path(cache_dir).expanduser() if cache_dir else cache.default_cache_dir()
    return cache.prepared(source, folder)


def from_array(array: np.ndarray, name: str = "array") -> ImageDataset:
    """Returns the images of an array as a data set: 80 / 10 / 10 %, as folders are split.

    `array` is uint8 [n, H, W, C], n >= 3; every split is a copy of its images in their order. Runs
    record the `name`. `ValueError` refuses other arrays, and a name that does not fit a folder.
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


def open_dataset(what: Data, **options: Any) -> ImageDataset:
    """Returns the data set that a caller means, or has.

    A name goes to `load_dataset` with the options, images uint8 [n, H, W, C] to `from_array`;
    errors are theirs.
    """
    if isinstance(what, ImageDataset):
        return what
    return load_dataset(what, **options) if isinstance(what, str) else from_array(what)
