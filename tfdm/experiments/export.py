"""Trained networks as SavedModels, which load without this package and without Keras.

generator = tf.saved_model.load("export/generator").signatures["serving_default"]
images = generator(z=tf.random.normal([16, 100]))["images"]
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfdm.runs.atomic import atomic_directory


def export_model(model: Any, folder: str | os.PathLike[str]) -> list[Path]:
    """Writes `generator/` and, where the model has an encoder, `encoder/` into a folder.

    Each is a SavedModel with one signature, `serving_default`, for any number n of rows; batch
    norm is in inference mode and uses its moving averages.

    * `generator/`: `z` float32 [n, L] -> `images` float32 [n, H, W, C] in [0, 1].
    * `encoder/`: `images` float32 [n, H, W, C] in [0, 1] -> `z` float32 [n, L]. With a Gaussian
      posterior `z` is its mean, and `loc` and `scale` [n, L] its parameters; with an implicit one
      `z` is a fresh sample at every call; with a deterministic one it is the code.

    Args:
      model: a trained model, built outside of a strategy with several replicas.
      folder: where the SavedModels stand; those of before are replaced.

    Returns:
      The folders written.
    """
    folder = Path(folder)
    codes = tf.TensorSpec([None, model.latent_dim], tf.float32, name="z")
    written = [_write(folder / "generator", lambda z: {"images": model.decode(z)}, codes)]
    if model.has_encoder:
        images = tf.TensorSpec([None, *model.image_shape], tf.float32, name="images")
        written.append(_write(folder / "encoder", _encoder(model), images))
    return written


def exported_folders(has_encoder: bool, folder: str | os.PathLike[str]) -> list[Path]:
    """Returns the folders that `export_model` writes for a model with or without an encoder."""
    names = ("generator", "encoder") if has_encoder else ("generator",)
    return [Path(folder, name) for name in names]


def is_exported(path: Path) -> bool:
    """Says whether a SavedModel stands at `path`."""
    return (path / "saved_model.pb").is_file()


def _encoder(model: Any) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    def encode(images: tf.Tensor) -> dict[str, tf.Tensor]:
        if model.has_posterior_density:
            posterior = model.posterior(images)
            loc, scale = posterior.loc, posterior.scale
            # Distinct outputs need distinct tensors.
            return {"z": tf.identity(loc), "loc": loc, "scale": scale}
        noise = tf.random.normal([tf.shape(images)[0], model.latent_dim])
        return {"z": model.infer(images * 2.0 - 1.0, noise, training=False)}

    return encode


def _write(
    folder: Path, function: Callable[..., dict[str, tf.Tensor]], spec: tf.TensorSpec
) -> Path:
    traced = tf.function(function, input_signature=[spec], autograph=False)
    signature = traced.get_concrete_function()
    module = tf.Module()
    # Only the variables that the function reads: no discriminator travels with a generator.
    module.networks = list(signature.graph.variables)
    with atomic_directory(folder) as temporary:
        tf.saved_model.save(module, str(temporary), signatures={"serving_default": signature})
    return folder
