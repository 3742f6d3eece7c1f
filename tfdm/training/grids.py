"""Grids of samples and reconstructions, the same codes and images throughout a run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfdm.pictures import COLUMNS, enlarged, image_grid, png_bytes, side_by_side
from tfdm.runs import RunFolder
from tfdm.runs.atomic import atomic_write_bytes
from tfdm.training.callbacks import StepCallback

SAMPLES = 64
RECONSTRUCTIONS = 32
CANVASES = 8


def fixed_images(images: np.ndarray, number: int = RECONSTRUCTIONS) -> np.ndarray:
    """Returns at most `number` images, evenly spaced, uint8 [n, H, W, C]."""
    chosen = np.linspace(0, len(images) - 1, min(number, len(images))).astype(np.int64)
    return np.asarray(images[chosen])


@dataclasses.dataclass(eq=False)
class ImageGrids(StepCallback):
    """Writes what the model makes of fixed codes and fixed images, as PNG and to TensorBoard."""

    every: int  # steps between two grids; the last step has one in any case
    folder: RunFolder
    writer: tf.summary.SummaryWriter
    images: np.ndarray  # uint8 [n, H, W, C], to reconstruct where the model can
    seed: int  # of the codes

    def after_steps(self, previous: int, logs: dict[str, Any]) -> None:
        if self.is_due(previous, self.every):
            self.write(self.model, self.step)

    def write(self, model: Any, step: int) -> None:
        """Writes the grids of a model after `step` steps."""
        samples = model.generate(SAMPLES, seed=self.seed).numpy()
        self._show("samples", grid_path(self.folder.samples, step), samples, step)
        if model.has_encoder:
            remade = model.reconstruct(self.images, seed=self.seed).numpy()
            pairs = side_by_side(self.images.astype(np.float32) / 255.0, remade)
            path = grid_path(self.folder.reconstructions, step)
            self._show("reconstructions", path, pairs, step)
        if hasattr(model, "canvases"):
            # A row for each code, a column for each step of the model.
            canvases = model.canvases(model.sample_codes(CANVASES, seed=self.seed)).numpy()
            path, images = grid_path(self.folder.canvases, step), np.concatenate(canvases)
            self._show("canvases", path, images, step, columns=canvases.shape[1])
        self.writer.flush()

    def _show(
        self, name: str, path: Path, images: np.ndarray, step: int, columns: int = COLUMNS
    ) -> None:
        grid = enlarged(image_grid(images, columns))
        atomic_write_bytes(path, png_bytes(grid))
        with self.writer.as_default(step=np.int64(step)):
            tf.summary.image(name, grid[None])


def grid_path(folder: Path, step: int) -> Path:
    """Returns where the grid of a step stands."""
    return folder / f"step_{step:06d}.png"
