"""What every measure asks of the arrays it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tfdm.statistics import real_numbers

# Beyond [0, 1], where rounding of float32 leads.
_ROUNDING = 1e-5


def checked_images(images: npt.ArrayLike, least: int = 1) -> np.ndarray:
    """Returns images, uint8 or floating in [0, 1], [n, H, W, 1 or 3], n at least `least`.

    Another type, shape or range, or a value that is not finite, is a `ValueError`.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape[1:]:
        raise ValueError(f"images have shape {images.shape}, expected [n, height, width, 1 or 3]")
    if len(images) < least:
        raise ValueError(f"there are {len(images)} images, expected at least {least}")
    if images.dtype == np.uint8:
        return images
    if images.dtype.name == "bfloat16":
        images = images.astype(np.float32)
    if images.dtype.kind != "f":
        raise ValueError(f"images are of type {images.dtype}, expected uint8 or floating point")
    low, high = images.min(), images.max()
    if not np.isfinite(low) or not np.isfinite(high):
        raise ValueError("images hold values that are not finite, expected values in [0, 1]")
    if not in_unit_range(low, high):
        raise ValueError(f"images lie in [{low:.9g}, {high:.9g}], expected [0, 1]")
    return np.clip(images, 0, 1) if low < 0 or high > 1 else images


def in_unit_range(low: float, high: float) -> bool:
    """Returns whether values lie in [0, 1] up to rounding."""
    return low >= -_ROUNDING and high <= 1 + _ROUNDING


def checked_rows(name: str, rows: npt.ArrayLike, least: int = 1) -> np.ndarray:
    """Returns logits or features as float64 [n, d]; others, or n < `least`, are a `ValueError`."""
    rows = real_numbers(name, rows)
    if rows.ndim != 2 or not rows.shape[1]:
        raise ValueError(f"{name} have shape {rows.shape}, expected [n, d]")
    if len(rows) < least:
        raise ValueError(f"there are {len(rows)} {name}, expected at least {least}")
    if not np.isfinite(rows).all():
        raise ValueError(f"{name} hold values that are not finite")
    return rows


def checked_pair(
    first: npt.ArrayLike, second: npt.ArrayLike, least: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns two sets of features as `checked_rows` does; unequal d is a `ValueError` too."""
    a, b = (checked_rows("features", rows, least) for rows in (first, second))
    check_columns(a.shape[1], b.shape[1])
    return a, b


def check_columns(first: int, second: int) -> None:
    """Raises a `ValueError` if two sets of features have different dimensions."""
    if first != second:
        raise ValueError(f"features have {first} and {second} columns, expected equal")


def unit_range(images: np.ndarray) -> np.ndarray:
    """Returns uint8 or floating images as float32 in [0, 1]."""
    if images.dtype == np.uint8:
        return images / np.float32(255)
    return images.astype(np.float32, copy=False)


def in_batches(
    network: Callable[[np.ndarray], Sequence[Any]], images: np.ndarray, size: int
) -> list[np.ndarray]:
    """Returns the outputs of a network, which sees the images as float32 [b, H, W, 3] in [0, 1]."""
    outputs = []
    for first in range(0, len(images), size):
        batch = unit_range(images[first : first + size])
        outputs.append(network(np.repeat(batch, 3 // batch.shape[-1], axis=-1)))
    return [np.concatenate(part) for part in zip(*outputs, strict=True)]
