"""What the trainable densities of codes share (Appendix A.4): `log_prob`, `sample`, a start.

A density is a Keras layer with float32 weights under every precision policy, and a prior: a model
can return one from `build_prior`. Shapes: B batch, L latent dimension.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfdm.seeds import derive

# Standard deviations of data below it count as this, so that a constant latent is no singularity.
MINIMUM_SCALE = 1e-3


class Density(keras.layers.Layer):
    """A density over codes [L], L = `num_latents`, with trainable weights drawn by `seed`.

    `sizes` are further arguments of the subclass by name; `ValueError` where L or one is below 1.
    """

    def __init__(
        self, num_latents: int, seed: int = 0, sizes: dict[str, int] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self._sizes = {"num_latents": num_latents, **(sizes or {})}
        for name, value in self._sizes.items():
            if value < 1:
                raise ValueError(f"{name} is {value}, expected 1 or more")
        self.num_latents = self.latent_dim = num_latents
        self.seed = int(seed)

    def log_prob(self, codes: tf.Tensor) -> tf.Tensor:
        """Codes [..., L] -> log-densities [...], nats, float32, differentiable in both."""
        raise NotImplementedError

    def from_noise(self, noise: tf.Tensor) -> tf.Tensor:
        """Standard normal noise [B, L] -> codes [B, L], float32, that follow the density."""
        raise NotImplementedError

    def sample(self, num: int, seed: int = 0) -> tf.Tensor:
        """Returns `num` independent codes, float32 [num, L], a function of `seed`."""
        raise NotImplementedError

    def add_moments(self) -> None:
        """Adds `loc` and `scale` [L], the moments of the data, which no gradient moves."""
        fixed = {"shape": (self.num_latents,), "trainable": False}
        self.loc = self.add_weight(**fixed, initializer="zeros", name="loc")
        self.scale = self.add_weight(**fixed, initializer="ones", name="scale")

    def initialize(self, codes: npt.ArrayLike, seed: int = 0) -> None:
        """Takes the moments of codes [S, L]: untrained, the density is near a Gaussian of them."""
        loc, scale = moments(codes)
        self.loc.assign(loc)
        self.scale.assign(scale)

    def call(self, codes: tf.Tensor) -> tf.Tensor:
        return self.log_prob(codes)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._sizes, "seed": self.seed}

    def initializer(self, scale: float, index: int) -> keras.initializers.Initializer:
        """Returns normal initial weights, the `index` different for each of them."""
        return keras.initializers.RandomNormal(
            0.0, scale, seed=derive(self.seed, "density/weights", index, bits=31)
        )


def sample_seed(seed: int) -> tf.Tensor:
    """Returns what TensorFlow's stateless samplers take, a function of any `seed` from 0."""
    return tf.constant([derive(seed, "density/sample", bits=31), 0])


def moments(codes: npt.ArrayLike) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Returns mean and standard deviation [L] of codes [S, L], the latter at least 1e-3."""
    codes = np.asarray(codes, np.float64)
    scale = np.maximum(codes.std(axis=0), MINIMUM_SCALE)
    return codes.mean(axis=0).astype(np.float32), scale.astype(np.float32)
