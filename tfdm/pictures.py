"""Pictures from arrays: grids of images, figures, and their PNG bytes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 8
_GAP = 2
# A grid is shown so many times its size: digits of 28 pixels are small on a screen of today.
_SCALE = 3


def image_grid(images: np.ndarray, columns: int = COLUMNS) -> np.ndarray:
    """Lays images out row by row, with white lines between them.

    Args:
      images: uint8, or floats in [0, 1], [n, H, W, C]. The first three channels are shown as
        colours, or the first as grey where there are fewer.
      columns: images in a row.

    Returns:
      One image, uint8 [rows (H + 2) + 2, columns (W + 2) + 2, 1 or 3].
    """
    if images.ndim != 4:
        raise ValueError(f"images have shape {images.shape}, expected [n, H, W, C]")
    images = images[..., : 3 if images.shape[-1] >= 3 else 1]
    if images.dtype != np.uint8:
        images = np.round(np.clip(images, 0.0, 1.0) * 255.0).astype(np.uint8)
    number, height, width, channels = images.shape
    rows = -(-number // columns)
    pitch_y, pitch_x = height + _GAP, width + _GAP
    grid = np.full((rows * pitch_y + _GAP, columns * pitch_x + _GAP, channels), 255, np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * pitch_y + _GAP, index % columns * pitch_x + _GAP
        grid[top : top + height, left : left + width] = image
    return grid


def enlarged(image: np.ndarray) -> np.ndarray:
    """Returns an image [H, W, C] at three times its size, each pixel a square of 3 x 3."""
    return image.repeat(_SCALE, axis=0).repeat(_SCALE, axis=1)


def grid_png(images: np.ndarray, columns: int = COLUMNS) -> bytes:
    """Returns the grid of images (see `image_grid`), enlarged, as PNG."""
    return png_bytes(enlarged(image_grid(images, columns)))


def side_by_side(originals: np.ndarray, reconstructions: np.ndarray) -> np.ndarray:
    """Returns images [2 n, H, W, C] in which each original stands before its reconstruction."""
    pairs = np.stack([originals, reconstructions], axis=1)
    return pairs.reshape(-1, *originals.shape[1:])


def png_bytes(image: np.ndarray) -> bytes:
    """Returns a uint8 image [H, W, 1 or 3] as PNG."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG")
    return buffer.getvalue()


def new_figure(width: float, height: float, title: str = "", fontsize: float = 9.0) -> Figure:
    """Returns an empty figure of this size in inches, drawn by Agg whatever the backend."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title, fontsize=fontsize)
    return figure


def figure_png(figure: Figure, dpi: float = 110.0) -> bytes:
    """Returns a figure as PNG, at so many dots an inch."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=dpi)
    return buffer.getvalue()
