"""Random crops, flips, cut-outs and colours of training images, a function of (seed, step)."""

from __future__ import annotations

import numpy as np

from tfdm.datasets.color_mnist import COLOR_SCALE, NOISE_SCALE
from tfdm.seeds import stream


def augment(
    images: np.ndarray,
    indices: np.ndarray,
    *,
    seed: int,
    step: int,
    epoch: int | np.ndarray,
    translate: int = 0,
    flip: bool = False,
    cutout: int = 0,
    paint: bool = False,
) -> np.ndarray:
    """Returns a batch of augmented images, float32 [B, S, S, C] in [0, 1].

    `indices` [B] are the batch of `step`, from 0, in the training images, uint8 [N, S, S, C]. With
    `flip`, every other `epoch`, of the batch or of each image, mirrors an image (Jordan, 2024).
    They are shifted by up to `translate` pixels with reflected borders, digits get colours with
    `paint`, and a square of side `cutout` becomes mid-grey.
    """
    rng = stream(seed, "classifier/augmentation", step)
    batch = images[indices]
    number, size = batch.shape[:2]
    if flip:
        parity = stream(seed, "classifier/flips").integers(0, 2, len(images))[indices]
        turned = ((parity + epoch) % 2).astype(bool)
        batch[turned] = batch[turned, :, ::-1]
    if translate:
        batch = _shift(batch, rng.integers(0, 2 * translate + 1, [2, number]), translate)
    values = batch.astype(np.float32) / np.float32(255)
    if paint:
        values = paint_digits(values, rng)
    if cutout:
        corners = rng.integers(0, size - cutout + 1, [2, number])
        for row, column, image in zip(*corners, values, strict=True):
            image[row : row + cutout, column : column + cutout] = 0.5
    return values


def paint_digits(digits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Colours digits as ColorMNIST does, three in four, and leaves the others as they are.

    Digits and results are floating [B, S, S, C] in [0, 1], where 0 is paper and 1 is ink.
    """
    number, size, _, channels = digits.shape
    is_colored = rng.random([number, 1, 1, 1]) < 0.75
    color = rng.normal(0.0, COLOR_SCALE, [number, 1, 1, channels])
    noise = rng.normal(0.0, NOISE_SCALE, [number, size, size, channels])
    x = np.where(is_colored, digits * color + (digits - 1) + noise, 2 * digits - 1)
    return ((np.clip(x, -1, 1) + 1) / 2).astype(np.float32)


def _shift(batch: np.ndarray, offsets: np.ndarray, translate: int) -> np.ndarray:
    """Cuts windows at `offsets` [2, B] out of the batch with a reflected border."""
    size = batch.shape[1]
    edge = (translate, translate)
    padded = np.pad(batch, ((0, 0), edge, edge, (0, 0)), mode="reflect")
    out = np.empty_like(batch)
    for image, row, column, target in zip(padded, *offsets, out, strict=True):
        target[...] = image[row : row + size, column : column + size]
    return out
