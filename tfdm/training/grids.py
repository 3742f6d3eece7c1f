"""Grids of samples and reconstructions, the same codes and images throughout a run."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import tensorflow as tf

from tfdm.runs import RunFolder
from tfdm.runs.atomic import atomic_write_bytes
from tfdm.training.callbacks import Span, StepCallback

COLUMNS = 8
SAMPLES = 64
RECONSTRUCTIONS = 32
_GAP = 2


def image_grid(images: np.ndarray, columns: int = COLUMNS) -> np.ndarray:
    """Lays images out row by row, with white lines between them.

    Args:
      images: uint8, or floats in [0, 1], [n, H, W, C] with C of 1 or 3.
      columns: images in a row.

    Returns:
      One image, uint8 [rows (H + 2) + 2, columns (W + 2) + 2, C].

    Raises:
      ValueError: the images do not have four axes, or not 1 or 3 channels.
    """
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(f"images have shape {images.shape}, expected [n, H, W, 1 or 3]")
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


def side_by_side(originals: np.ndarray, reconstructions: np.ndarray) -> np.ndarray:
    """Returns images [2 n, H, W, C] in which each original stands before its reconstruction."""
    pairs = np.stack([originals, reconstructions], axis=1)
    return pairs.reshape(-1, *originals.shape[1:])


def png_bytes(image: np.ndarray) -> bytes:
    """Returns a uint8 image [H, W, 1 or 3] as PNG."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG")
    return buffer.getvalue()


def fixed_images(images: np.ndarray, number: int = RECONSTRUCTIONS) -> np.ndarray:
    """Returns at most `number` images, evenly spaced, uint8 [n, H, W, C]."""
    chosen = np.linspace(0, len(images) - 1, min(number, len(images))).astype(np.int64)
    return np.asarray(images[chosen])


class ImageGrids(StepCallback):
    """Writes what the model makes of fixed codes and fixed images, as PNG and to TensorBoard.

    Args:
      span: the steps of the session.
      every: steps between two grids; the last step has one in any case.
      folder: the run folder.
      writer: the writer of TensorBoard.
      images: uint8 [n, H, W, C] to reconstruct, where the model can.
      seed: the seed of the codes.
    """

    def __init__(
        self,
        span: Span,
        every: int,
        folder: RunFolder,
        writer: tf.summary.SummaryWriter,
        images: np.ndarray,
        seed: int,
    ) -> None:
        super().__init__(span)
        self._every = every
        self._folder = folder
        self._writer = writer
        self._images = images
        self._seed = seed

    def after_steps(self, previous: int, logs: dict[str, Any]) -> None:
        """Writes the grids when they are due."""
        if self.is_due(previous, self._every):
            self.write(self.model, self.step)

    def write(self, model: Any, step: int) -> None:
        """Writes the grids of a model after `step` steps."""
        samples = model.generate(SAMPLES, seed=self._seed).numpy()
        self._show("samples", grid_path(self._folder.samples, step), samples, step)
        if model.infers:
            remade = model.reconstruct(self._images, seed=self._seed).numpy()
            pairs = side_by_side(self._images.astype(np.float32) / 255.0, remade)
            path = grid_path(self._folder.reconstructions, step)
            self._show("reconstructions", path, pairs, step)
        self._writer.flush()

    def _show(self, name: str, path: Path, images: np.ndarray, step: int) -> None:
        grid = image_grid(images)
        atomic_write_bytes(path, png_bytes(grid))
        with self._writer.as_default(step=step):
            tf.summary.image(name, grid[None])


def grid_path(folder: Path, step: int) -> Path:
    """Returns where the grid of a step stands."""
    return folder / f"step_{step:06d}.png"
