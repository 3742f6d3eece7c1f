"""Trained networks as SavedModels, which load without this package and without Keras.

generator = tf.saved_model.load("export/generator").signatures["serving_default"]
images = generator(z=tf.random.normal([16, 100]))["images"]
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfdm.runs.atomic import atomic_directory


def export_model(model: Any, folder: str | os.PathLike[str]) -> list[Path]:
    """Writes `generator/` and, where the model has an encoder, `encoder/` into a folder.

    Each is a SavedModel for any number n of rows with the signatures that the model's
    `export_signatures` gives; batch norm is in inference mode and uses its moving averages.

    * `generator/`: `serving_default` maps standard normal noise `z` float32 [n, L] -> `images`
      float32 [n, H, W, C] in [0, 1]; `decode` maps `codes` [n, L] -> `images`. Both are the same
      function where the prior is the standard normal.
    * `encoder/`: `serving_default` maps `images` in [0, 1] -> `z` float32 [n, L]. With a Gaussian
      posterior `z` is its mean, and `loc` and `scale` [n, L] its parameters; with an implicit one
      `z` is a fresh sample at every call; with a deterministic one it is the code.

    The model was built outside of a strategy with several replicas. SavedModels of before are
    replaced. Returns the folders written.
    """
    signatures = model.export_signatures()
    return [_write(Path(folder, name), functions) for name, functions in signatures.items()]


def exported_folders(has_encoder: bool, folder: str | os.PathLike[str]) -> list[Path]:
    """Returns the folders that `export_model` writes for a model with or without an encoder."""
    names = ("generator", "encoder") if has_encoder else ("generator",)
    return [Path(folder, name) for name in names]


def is_exported(path: Path) -> bool:
    """Says whether a SavedModel stands at `path`."""
    return (path / "saved_model.pb").is_file()


def _write(folder: Path, functions: Mapping[str, Any]) -> Path:
    signatures = {name: traced.get_concrete_function() for name, traced in functions.items()}
    module = tf.Module()
    # Only the variables that the functions read: no discriminator travels with a generator.
    read = {v.ref(): v for traced in signatures.values() for v in traced.graph.variables}
    module.networks = list(read.values())
    with atomic_directory(folder) as temporary:
        tf.saved_model.save(module, str(temporary), signatures=signatures)
    return folder
