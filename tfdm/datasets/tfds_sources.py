"""The sets that TensorFlow Datasets reads: color_mnist, cifar10 and celeb_a.

What TFDS has prepared on this machine is used; else it is fetched, unless the network is plainly
absent. Versions are pinned, since another version may hold other pixels in another order.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import shutil
import socket
import tempfile
import urllib.request
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tfdm.datasets import color_mnist
from tfdm.datasets.dataset import Source, SplitStream
from tfdm.datasets.reader import crop_and_resize
from tfdm.errors import UserError

CELEB_A_CROP = 160
CELEB_A_SIZE = 64
_CELEB_A_SMALLER_SIDE = 178

_CHUNK = 256
_PROBE_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class TfdsSet:
    """A set as TFDS knows it, and the host that TFDS downloads it from.

    `splits` gives TFDS's split instruction and the number of images for each of our splits;
    `side_step` is what to do where the set cannot be had.
    """

    name: str
    version: str
    host: str
    splits: dict[str, tuple[str, int]]
    side_step: str


_HALVED_TEST = {"validation": ("test[:5000]", 5_000), "test": ("test[5000:]", 5_000)}
_TO_5K = "use --dataset=color_mnist_5k, which needs no download"

_MNIST_SPLITS = {"train": ("train", 60_000), **_HALVED_TEST}
_CIFAR10_SPLITS = {"train": ("train", 50_000), **_HALVED_TEST}

MNIST = TfdsSet("mnist", "3.0.1", "storage.googleapis.com", _MNIST_SPLITS, _TO_5K)
CIFAR10 = TfdsSet("cifar10", "3.0.2", "www.cs.toronto.edu", _CIFAR10_SPLITS, _TO_5K)
CELEB_A = TfdsSet(
    "celeb_a",
    "2.1.0",
    "drive.google.com",
    {n: (n, size) for n, size in (("train", 162_770), ("validation", 19_867), ("test", 19_962))},
    "use --dataset=image_folder with the folder of the aligned images",
)

# Makes images of a chunk of TFDS's, from (values, split, index of the first).
Transform = Callable[[np.ndarray, str, int], np.ndarray]


def color_mnist_source(data_dir: str | None = None, tfds_set: TfdsSet = MNIST) -> Source:
    """Returns 60,000 / 5,000 / 5,000 MNIST digits, coloured; see `tfdm.datasets.color_mnist`."""

    def color(images: np.ndarray, split: str, first: int) -> np.ndarray:
        return color_mnist.color_digits(images[..., 0], split, first)

    construction = color_mnist.construction()
    shape = color_mnist.IMAGE_SHAPE
    return _source("color_mnist", shape, tfds_set, data_dir, color, **construction)


def cifar10_source(data_dir: str | None = None, tfds_set: TfdsSet = CIFAR10) -> Source:
    """Returns 50,000 / 5,000 / 5,000 images of CIFAR-10, 32x32."""
    return _source("cifar10", (32, 32, 3), tfds_set, data_dir, lambda images, *_: images)


def celeb_a_source(
    data_dir: str | None = None,
    image_size: int | None = None,
    crop: int | None = None,
    tfds_set: TfdsSet = CELEB_A,
) -> Source:
    """Returns 162,770 / 19,867 / 19,962 faces: central square, bilinear with antialiasing.

    Sizes are those of `load_dataset`; `UserError` refuses a crop larger than the originals.
    """
    size, side = image_size or CELEB_A_SIZE, crop or CELEB_A_CROP
    if side > _CELEB_A_SMALLER_SIDE:
        raise UserError(
            f"--crop={side} is larger than CelebA's 178x218 images: choose at most "
            f"{_CELEB_A_SMALLER_SIDE}"
        )

    def shrink(images: np.ndarray, split: str, first: int) -> np.ndarray:
        return np.stack([crop_and_resize(Image.fromarray(x), side, size) for x in images])

    how = {"crop": side, "resize": "bilinear, antialiased"}
    return _source("celeb_a", (size, size, 3), tfds_set, data_dir, shrink, **how)


def _source(
    name: str,
    image_shape: tuple[int, int, int],
    tfds_set: TfdsSet,
    data_dir: str | None,
    transform: Transform,
    **construction: Any,
) -> Source:
    key = {
        "source": f"tfds:{tfds_set.name}:{tfds_set.version}",
        "source_splits": {split: text for split, (text, _) in tfds_set.splits.items()},
        **construction,
    }
    return Source(name, image_shape, key, lambda: open_splits(tfds_set, data_dir, transform))


def open_splits(
    tfds_set: TfdsSet, data_dir: str | None, transform: Transform, feature: str = "image"
) -> dict[str, SplitStream]:
    """Opens a feature of TFDS's prepared copy, after fetching it when there is none."""
    import tensorflow_datasets as tfds

    folder = data_dir or os.environ.get("TFDS_DATA_DIR") or None
    name = f"{tfds_set.name}:{tfds_set.version}"
    builder = tfds.builder(name, data_dir=folder)
    if not builder.is_prepared():
        _fetch(builder, tfds_set)
        builder = tfds.builder(name, data_dir=folder)

    def chunks(split: str) -> Generator[np.ndarray, None, None]:
        instruction, first = tfds_set.splits[split][0], 0
        try:
            examples = builder.as_dataset(
                split=instruction,
                shuffle_files=False,
                # One shard after the other: the order of the files, not of the readers.
                read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
            )
            batches = examples.map(lambda example: example[feature]).batch(_CHUNK).prefetch(1)
            for values in batches.as_numpy_iterator():
                yield transform(values, split, first)
                first += len(values)
        except Exception as error:  # TFDS raises whatever its reader raises.
            raise UserError(
                f"cannot read split {instruction!r} of TFDS {tfds_set.name} {tfds_set.version} in "
                f"{builder.data_path}: {_first_line(error)}; delete that folder and prepare it "
                "again"
            ) from error

    return {
        split: SplitStream(size, functools.partial(chunks, split))
        for split, (_, size) in tfds_set.splits.items()
    }


def _fetch(builder: Any, tfds_set: TfdsSet) -> None:
    """Downloads and prepares a set; what it downloaded is removed, also after a failure."""
    wanted = f"{tfds_set.name} {tfds_set.version} is not in {builder.data_dir_root}"
    advice = (
        "set --data_dir or TFDS_DATA_DIR to a folder in which TFDS has prepared it, "
        f"or {tfds_set.side_step}"
    )
    if _offline(tfds_set.host):
        raise UserError(f"{wanted} and {tfds_set.host} cannot be reached to fetch it: {advice}")
    download_dir = None
    try:
        Path(builder.data_dir_root).mkdir(parents=True, exist_ok=True)
        download_dir = tempfile.mkdtemp(prefix="downloads-", dir=builder.data_dir_root)
        builder.download_and_prepare(download_dir=download_dir)
    except Exception as error:  # network, archive, disk: each raises its own.
        reason = _first_line(error)
        raise UserError(f"{wanted} and fetching it failed ({reason}): {advice}") from error
    finally:
        if download_dir:
            shutil.rmtree(download_dir, ignore_errors=True)


def _offline(host: str) -> bool:
    """Says whether `host` is plainly out of reach; TFDS itself retries for minutes."""
    if urllib.request.getproxies():
        return False  # Reached through a proxy, if at all: let TFDS try.
    try:
        socket.create_connection((host, 443), timeout=_PROBE_SECONDS).close()
    except OSError:
        return True
    return False


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
