"""What a data set is once it is prepared, and what it is prepared from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Mapping
from typing import Any

import numpy as np

SPLITS = ("train", "validation", "test")
# How sets without splits of their own are split: see `split_indices`.
SPLIT_KEY: dict[str, Any] = {"held_out_fraction": 0.1, "split_seed": 0}


@dataclasses.dataclass(frozen=True, eq=False)
class ImageDataset:
    """A prepared data set.

    `digest` is a SHA-256 (hex) of all pixels, shapes and split names: equal digests mean equal
    images in equal order, whatever machine or cache folder they stand in.
    """

    name: str  # on the command line, such as "color_mnist"
    splits: Mapping[
        str, np.ndarray
    ]  # train, validation and test, each read-only uint8 [N, H, W, C]
    digest: str
    meta: Mapping[str, Any]  # what determined the pixels (source, version, crop, ..), JSON-able

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape [H, W, C] of one image."""
        height, width, channels = self.splits["train"].shape[1:]
        return height, width, channels

    def split(self, name: str) -> np.ndarray:
        """Returns a split, uint8 [N, H, W, C]; `ValueError` where there is none of this name."""
        if name not in self.splits:
            raise ValueError(f"{self.name} has no split {name!r}, only {', '.join(self.splits)}")
        return self.splits[name]


@dataclasses.dataclass(frozen=True)
class SplitStream:
    """The images of one split, in order, as they come out of their source.

    `chunks` opens a generator of uint8 [n, H, W, C], any n >= 1, that add up to `size` images.
    """

    size: int
    chunks: Callable[[], Generator[np.ndarray, None, None]]


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a data set's pixels come from.

    `open_splits` is called only when there is no prepared copy. It, and reading, raise `UserError`
    when the source is missing or damaged.
    """

    name: str  # of the data set
    image_shape: tuple[int, int, int]  # [H, W, C] of every image
    key: Mapping[str, Any]  # all that determines the pixels, JSON-able: another one, another copy
    open_splits: Callable[[], Mapping[str, SplitStream]]


def split_indices(num_images: int) -> dict[str, np.ndarray]:
    """Returns which images go to which split, where the source has no splits of its own.

    A permutation that depends on the number of images alone, at least 3, gives a tenth of them (at
    least one) to validation, a tenth to test and the rest to train; int64 indices, increasing.
    """
    held_out = max(1, round(SPLIT_KEY["held_out_fraction"] * num_images))
    order = np.random.default_rng(SPLIT_KEY["split_seed"]).permutation(num_images)
    parts = np.split(order, [num_images - 2 * held_out, num_images - held_out])
    return {split: np.sort(part) for split, part in zip(SPLITS, parts, strict=True)}
