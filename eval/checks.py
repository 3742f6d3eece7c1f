"""What every measure asks of the arrays it is given."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def checked_images(images: npt.ArrayLike, least: int = 1) -> np.ndarray:
    """Returns images as an array after looking at their shape and range.

    Args:
      images: uint8 [n, H, W, C] in 0..255, or floating [n, H, W, C] in [0, 1]; C is 1 or 3.
      least: the smallest admissible n.

    Raises:
      ValueError: another type, shape or range, a value that is not finite, or too few images.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape[1:]:
        raise ValueError(f"images have shape {images.shape}, expected [n, height, width, 1 or 3]")
    if len(images) < least:
        raise ValueError(f"there are {len(images)} images, expected at least {least}")
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        raise ValueError(f"images are of type {images.dtype}, expected uint8 or floating point")
    low, high = images.min(), images.max()
    if not np.isfinite(low) or not np.isfinite(high):
        raise ValueError("images hold values that are not finite, expected values in [0, 1]")
    if low < 0 or high > 1:
        raise ValueError(f"images lie in [{low:.4g}, {high:.4g}], expected [0, 1]")
    return images


def checked_rows(name: str, rows: npt.ArrayLike, least: int = 1) -> np.ndarray:
    """Returns logits or features as float64 [n, d] after looking at them.

    Raises:
      ValueError: another shape, a value that is not finite, or fewer than `least` rows.
    """
    rows = np.asarray(rows, np.float64)
    if rows.ndim != 2 or not rows.shape[1]:
        raise ValueError(f"{name} have shape {rows.shape}, expected [n, d]")
    if len(rows) < least:
        raise ValueError(f"there are {len(rows)} {name}, expected at least {least}")
    if not np.isfinite(rows).all():
        raise ValueError(f"{name} hold values that are not finite")
    return rows


def unit_range(images: np.ndarray) -> np.ndarray:
    """Returns uint8 or floating images as float32 in [0, 1]."""
    if images.dtype == np.uint8:
        return images / np.float32(255)
    return images.astype(np.float32, copy=False)
