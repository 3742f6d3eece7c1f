"""Small instances of every model, and what the tests of models share."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import tensorflow as tf

from tfdm.models.registry import MODELS

LATENT_DIM = 4
BATCH_SIZE = 8
IMAGE_SHAPE = (28, 28, 3)
SMALL = {"latent_dim": LATENT_DIM, "width": 1 / 8}

# What makes a model smaller still.
OPTIONS: dict[str, dict[str, Any]] = {
    "draw": {
        "latent_dim": None,
        "num_steps": 2,
        "latent_maps": 1,
        "hidden_maps": 32,
        "kernel_size": 3,
    },  # fmt: skip
    "ali": {"head_maps": 64},
    "avb": {"head_maps": 64, "noise_dim": 3, "contrast_samples": 2},
    "wgan_gp": {"critic_steps": 2},
    "veegan": {"head_maps": 64},
}


def small_model(
    name: str,
    *,
    image_shape: tuple[int, int, int] = IMAGE_SHAPE,
    seed: int = 3,
    dtype: str = "float32",
    networks: Any = None,
    **options: Any,
) -> Any:
    """A model of the registry with few maps and units."""
    fields = {**SMALL, **OPTIONS.get(name, {}), **options}
    return MODELS[name].load()(
        image_shape=image_shape, seed=seed, dtype=dtype, networks=networks, **fields
    )


def two_replicas() -> tf.distribute.Strategy:
    """Two replicas on this machine's processor."""
    together = tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], cross_device_ops=together)


def small_images(
    number: int, image_shape: tuple[int, int, int] = IMAGE_SHAPE, seed: int = 0
) -> np.ndarray:
    """Random uint8 images [number, H, W, C]."""
    return np.random.default_rng(seed).integers(0, 256, [number, *image_shape], dtype=np.uint8)


def small_batches(model: Any, steps: int, seed: int = 0) -> np.ndarray:
    """Batches for `steps` training steps of a model, uint8 [steps, B, (K,) H, W, C]."""
    count = model.batches_per_step
    images = small_images(steps * BATCH_SIZE * count, model.image_shape, seed)
    batches = () if count == 1 else (count,)
    return images.reshape([steps, BATCH_SIZE, *batches, *model.image_shape])


def stir(model: Any, rng: np.random.Generator) -> None:
    """Moves all weights away from the initial ones, so that no logit or gain is special."""
    for variable in model.variables:
        if "moving_variance" in variable.path:
            variable.assign(rng.uniform(0.5, 2.0, variable.shape))
        elif variable.dtype == "float32":
            scale = 0.1 if "kernel" in variable.path else 0.3
            variable.assign(variable.numpy() + scale * rng.normal(size=variable.shape))


def moving_variables(model: Any) -> list[Any]:
    """The trainable variables that a step changes: all but the constant of a critic's scores."""
    idle = model.critic.trainable_variables[-1] if hasattr(model, "critic") else None
    return [variable for variable in model.trainable_variables if variable is not idle]


def values(variables: list[Any]) -> list[np.ndarray]:
    """Copies of the values of variables."""
    return [np.array(variable.numpy()) for variable in variables]


def all_variables(model: Any) -> list[Any]:
    """The variables of a model and of its optimisers."""
    optimizers = [v for name in model.optimizers for v in model.optimizers[name].variables]
    return [*model.variables, *optimizers]


def assert_same(first: list[Any], second: list[Any]) -> None:
    """Bit for bit."""
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


class FixedNoise:
    """Noise that a test knows: numbers [batch_size, ...] by name, from a seed that `rng` gives."""

    def __init__(self, rng: np.random.Generator, batch_size: int = BATCH_SIZE) -> None:
        self._seed = int(rng.integers(2**31))
        self._batch_size = batch_size
        self.drawn: dict[str, np.ndarray] = {}

    def normal(self, name: str, shape: list[int]) -> tf.Tensor:
        return self._draw(name, shape, lambda rng, size: rng.standard_normal(size))

    def uniform(self, name: str, shape: list[int]) -> tf.Tensor:
        return self._draw(name, shape, lambda rng, size: rng.random(size))

    def keep_mask(self, name: str, shape: list[int], rate: float) -> tf.Tensor:
        return self._draw(name, shape, lambda rng, size: (rng.random(size) >= rate) / (1 - rate))

    def _draw(self, name: str, shape: list[int], sampler: Any) -> tf.Tensor:
        if name not in self.drawn:
            # By name, so that the order of the draws does not matter.
            rng = np.random.default_rng([self._seed, zlib.crc32(name.encode())])
            self.drawn[name] = sampler(rng, [self._batch_size, *shape]).astype(np.float32)
        return tf.constant(self.drawn[name])
