"""Data sets from what a caller names them by: a name, an array, or a data set itself."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from tfdm.datasets import cache
from tfdm.datasets.arrays import from_array
from tfdm.datasets.dataset import ImageDataset
from tfdm.datasets.registry import DATASETS, DatasetEntry, find_dataset
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

    Preparing reports on the logger "tfdm" (level INFO); CelebA takes minutes. A prepared copy is
    opened without its source: neither `data_dir` nor a network is needed any more.

    Args:
      name: "color_mnist_5k", "color_mnist", "cifar10", "celeb_a" or "image_folder".
      data_dir: for the TFDS sets, TFDS's data folder (default: $TFDS_DATA_DIR, else TFDS's own);
        for "image_folder", the folder of images.
      cache_dir: the cache folder (default: $TFDM_CACHE_DIR, else $XDG_CACHE_HOME/tfdm, else
        ~/.cache/tfdm).
      image_size: the side of the images in pixels, for "celeb_a" and "image_folder" (default:
        64). None or 0 stands for the data set's own.
      crop: the side of the central square that is scaled to `image_size`. Default: 160 for
        "celeb_a", the largest that fits for "image_folder". None or 0 stands for the default.

    Returns:
      Splits "train", "validation", "test", each uint8 [N, H, W, C], read-only and memory-mapped.

    Raises:
      UserError: unknown name, bad size, source missing or damaged, no network, cache folder not
        writable; one line each.
    """
    entry = find_dataset(name)
    for flag, value in (("image_size", image_size), ("crop", crop)):
        if value is not None and value < 0:
            raise UserError(f"--{flag}={value} is negative: give a number of pixels")
    data_dir = os.path.expanduser(data_dir) if data_dir else None
    folder = Path(cache_dir).expanduser() if cache_dir else cache.default_cache_dir()
    if entry.side:
        _check_fixed(entry, image_size, crop)
        return cache.prepared(entry.load()(data_dir), folder)
    return cache.prepared(entry.load()(data_dir, image_size or None, crop or None), folder)


def open_dataset(
    what: Data,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    image_size: int | None = None,
    crop: int | None = None,
) -> ImageDataset:
    """Returns the data set that a caller means.

    Args:
      what: a name, for which the other arguments count (`load_dataset`); images uint8
        [n, H, W, C] (`from_array`); or a data set, which is returned as it is.
      data_dir: where a set by name is read from.
      cache_dir: where prepared sets stand.
      image_size: the side of the images of a set by name.
      crop: the side of the centre crop of a set by name.

    Raises:
      UserError: a set by name cannot be had.
      ValueError: the array has another type or shape.
    """
    if isinstance(what, ImageDataset):
        return what
    if isinstance(what, str):
        return load_dataset(
            what, data_dir=data_dir, cache_dir=cache_dir, image_size=image_size, crop=crop
        )
    return from_array(what)


def _check_fixed(entry: DatasetEntry, image_size: int | None, crop: int | None) -> None:
    flexible = " and ".join(other.name for other in DATASETS.values() if not other.side)
    if image_size not in (None, 0, entry.side):
        raise UserError(
            f"{entry.name} has images of {entry.side}x{entry.side}: drop "
            f"--image_size={image_size}, which is for {flexible}"
        )
    if crop:
        raise UserError(f"{entry.name} is not cropped: drop --crop={crop}, which is for {flexible}")
