"""Data sets by name: where each comes from, and which sizes it can have."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tfdm.datasets import cache, color_mnist, image_folder, tfds_sources
from tfdm.datasets.dataset import ImageDataset, Source
from tfdm.datasets.registry import check_dataset
from tfdm.errors import UserError


def load_dataset(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    image_size: int | None = None,
    crop: int | None = None,
) -> ImageDataset:
    """Opens a data set, after preparing it in the cache folder the first time.

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
    check_dataset(name)
    for flag, value in (("image_size", image_size), ("crop", crop)):
        if value is not None and value < 0:
            raise UserError(f"--{flag}={value} is negative: give a number of pixels")
    data_dir = os.path.expanduser(data_dir) if data_dir else None
    folder = Path(cache_dir).expanduser() if cache_dir else cache.default_cache_dir()
    source = _SOURCES[name](data_dir, image_size or None, crop or None)
    return cache.prepared(source, folder)


def _color_mnist_5k(data_dir: str | None, image_size: int | None, crop: int | None) -> Source:
    _check_fixed("color_mnist_5k", 28, image_size, crop)
    return color_mnist.color_mnist_5k_source()


def _color_mnist(data_dir: str | None, image_size: int | None, crop: int | None) -> Source:
    _check_fixed("color_mnist", 28, image_size, crop)
    return tfds_sources.color_mnist_source(data_dir)


def _cifar10(data_dir: str | None, image_size: int | None, crop: int | None) -> Source:
    _check_fixed("cifar10", 32, image_size, crop)
    return tfds_sources.cifar10_source(data_dir)


def _celeb_a(data_dir: str | None, image_size: int | None, crop: int | None) -> Source:
    return tfds_sources.celeb_a_source(
        data_dir,
        image_size or tfds_sources.CELEB_A_SIZE,
        crop or tfds_sources.CELEB_A_CROP,
    )


def _image_folder(data_dir: str | None, image_size: int | None, crop: int | None) -> Source:
    return image_folder.image_folder_source(data_dir, image_size or image_folder.DEFAULT_SIZE, crop)


def _check_fixed(name: str, side: int, image_size: int | None, crop: int | None) -> None:
    if image_size not in (None, side):
        raise UserError(
            f"{name} has images of {side}x{side}: drop --image_size={image_size}, "
            "which is for celeb_a and image_folder"
        )
    if crop is not None:
        raise UserError(
            f"{name} is not cropped: drop --crop={crop}, which is for celeb_a and image_folder"
        )


_SOURCES: dict[str, Callable[[str | None, int | None, int | None], Source]] = {
    "color_mnist_5k": _color_mnist_5k,
    "color_mnist": _color_mnist,
    "cifar10": _cifar10,
    "celeb_a": _celeb_a,
    "image_folder": _image_folder,
}
