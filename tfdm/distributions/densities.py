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

# Standard deviations of data below it count as this, so that a constant latent is no singularity.
MINIMUM_SCALE = 1e-3


class Density(keras.layers.Layer):
    """A density over codes with trainable weights.

    Attributes:
      num_latents: L.
    """

    def __init__(self, num_latents: int, seed: int = 0, **kwargs: Any) -> None:
        """Takes L and the seed of the initial weights.

        Raises:
          ValueError: `num_latents` is below 1.
        """
        super().__init__(**{"dtype": "float32", **kwargs})
        if num_latents < 1:
            raise ValueError(f"num_latents is {num_latents}, expected 1 or more")
        self.num_latents, self.seed = num_latents, seed

    @property
    def latent_dim(self) -> int:
        """L, under the name that priors have for it."""
        return self.num_latents

    def log_prob(self, codes: tf.Tensor) -> tf.Tensor:
        """Codes [..., L] -> log-densities [...], nats, float32.

        They are differentiable in codes and weights.
        """
        raise NotImplementedError

    def from_noise(self, noise: tf.Tensor) -> tf.Tensor:
        """Standard normal noise [B, L] -> codes [B, L], float32, that follow the density."""
        raise NotImplementedError

    def sample(self, num: int, seed: int = 0) -> tf.Tensor:
        """Returns `num` independent codes, float32 [num, L], a function of `seed`."""
        raise NotImplementedError

    def initialize(self, codes: npt.ArrayLike, seed: int = 0) -> None:
        """Starts from data: the moments of codes [S, L], by which training begins near them."""
        raise NotImplementedError

    def call(self, codes: tf.Tensor) -> tf.Tensor:
        """The log-densities, as `log_prob`."""
        return self.log_prob(codes)

    def get_config(self) -> dict[str, Any]:
        """Returns what makes the layer again, without its weights."""
        return {**super().get_config(), "num_latents": self.num_latents, "seed": self.seed}

    def initializer(self, scale: float, index: int) -> keras.initializers.Initializer:
        """Returns normal initial weights, the `index` different for each of them."""
        return keras.initializers.RandomNormal(0.0, scale, seed=self.seed * 1000 + index)


def moments(codes: npt.ArrayLike) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Returns mean and standard deviation [L] of codes [S, L], the latter at least 1e-3."""
    codes = np.asarray(codes, np.float64)
    scale = np.maximum(codes.std(axis=0), MINIMUM_SCALE)
    return codes.mean(axis=0).astype(np.float32), scale.astype(np.float32)
