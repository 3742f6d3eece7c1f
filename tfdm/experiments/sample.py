"""Samples of a trained run: a sheet, the arrays, and interpolations; imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import io
import logging
from pathlib import Path
from typing import Any

import numpy as np

from tfdm.errors import UserError
from tfdm.experiments.load import Run, load_run
from tfdm.fields import CheckedConfig, folder, setting
from tfdm.pictures import grid_png
from tfdm.runs.atomic import atomic_write_bytes
from tfdm.runs.results import writing
from tfdm.seeds import stream

_logger = logging.getLogger("tfdm")

_BLOCK = 500


@dataclasses.dataclass(frozen=True)
class SampleConfig(CheckedConfig):
    """How many samples, which ones, and where they go."""

    num: int = setting(64, "number of samples", minimum=1)
    seed: int = setting(0, "seed of the samples", minimum=0)
    columns: int = setting(8, "images in a row of a sheet", minimum=2)
    interpolations: int = setting(
        8, "rows that lead from one sample to another; 0 is none", minimum=0
    )
    output_dir: str | None = folder(
        "where samples.png, samples.npz and interpolations.png go", "RUN/generated"
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Samples:
    """Images that a model generated, uint8, and the noise that its prior turns into codes."""

    noise: np.ndarray  # standard normal, float32 [n, L]
    images: np.ndarray  # [n, H, W, C]
    interpolations: np.ndarray  # [rows, columns, H, W, C]; a row leads from one noise to another
    files: tuple[Path, ...]  # what was written


def sample(run: Run | str | Path, config: SampleConfig | None = None, **options: Any) -> Samples:
    """Generates images from the prior of a trained run.

    With `output_dir` they are written too: `samples.png`, `samples.npz` (`images` and `noise`)
    and, where interpolations are asked for, `interpolations.png`.

    Args:
      run: what `tfdm.load_run` returned, or the run folder.
      config: the options, see `SampleConfig`.
      **options: fields that replace those of `config`.

    Raises:
      UserError: the folder holds no trained run, or nothing can be written there.
      ValueError: an option is not admissible.
    """
    config = SampleConfig.of(config, **options)
    run = run if isinstance(run, Run) else load_run(run)
    model, columns = run.model, config.columns
    rng = stream(config.seed, "sample/noise")
    noise = rng.standard_normal((config.num, model.latent_dim), np.float32)
    images = _generate(model, noise)
    rows = min(config.interpolations, config.num // 2)
    between = _interpolated(noise[:rows], noise[rows : 2 * rows], columns)
    interpolations = _generate(model, between.reshape(-1, model.latent_dim))
    files: tuple[Path, ...] = ()
    if config.output_dir is not None:
        arrays = io.BytesIO()
        np.savez(arrays, images=images, noise=noise)
        contents = {"samples.png": grid_png(images, columns)}
        contents["samples.npz"] = arrays.getvalue()
        if rows:
            contents["interpolations.png"] = grid_png(interpolations, columns)
        with writing(config.output_dir) as target:
            replaced = [name for name in contents if (target / name).exists()]
            if replaced:
                _logger.info("replacing %s in %s", ", ".join(replaced), target)
            for name, content in contents.items():
                atomic_write_bytes(target / name, content)
        files = tuple(target / name for name in contents)
    shape = (rows, columns, *model.image_shape)
    return Samples(noise, images, interpolations.reshape(shape), files)


def _interpolated(first: np.ndarray, last: np.ndarray, columns: int) -> np.ndarray:
    """Returns noise [rows, columns, L] on the arcs between pairs of noise [rows, L].

    √(1 − t²)-like weights cos and sin keep every point a standard normal draw, as the ends are.
    """
    angle = np.linspace(0.0, np.pi / 2, columns, dtype=np.float32)[None, :, None]
    return np.cos(angle) * first[:, None] + np.sin(angle) * last[:, None]


def _generate(model: Any, noise: np.ndarray) -> np.ndarray:
    blocks = [model.generate(noise[i : i + _BLOCK]) for i in range(0, len(noise), _BLOCK)]
    images = np.concatenate([np.empty([0, *model.image_shape], np.float32), *blocks])
    if not np.isfinite(images).all():
        raise UserError("the model generates images that are not finite: choose another run")
    return np.rint(np.clip(images, 0.0, 1.0) * 255.0).astype(np.uint8)
