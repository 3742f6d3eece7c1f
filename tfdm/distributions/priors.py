"""Priors over codes."""

from __future__ import annotations

import math
from typing import Any, Protocol

import tensorflow as tf
from tensorflow_probability import distributions as tfd


class Prior(Protocol):
    """p(z) of codes [L]."""

    @property
    def latent_dim(self) -> int:
        """L."""

    def log_prob(self, codes: Any) -> tf.Tensor:
        """Codes [..., L] -> log-densities [...], nats."""

    def from_noise(self, noise: Any) -> tf.Tensor:
        """Standard normal noise [n, L] -> codes [n, L]."""


class StandardNormal:
    """N(0, I)."""

    def __init__(self, latent_dim: int) -> None:
        self.latent_dim = latent_dim

    def log_prob(self, codes: Any) -> tf.Tensor:
        """Codes [..., L] -> log-densities [...], nats."""
        codes = tf.convert_to_tensor(codes)
        return -0.5 * tf.reduce_sum(codes**2 + math.log(2 * math.pi), axis=-1)

    def from_noise(self, noise: Any) -> tf.Tensor:
        """The noise itself."""
        return tf.convert_to_tensor(noise)


def standard_normal(latent_dim: int) -> tfd.Distribution:
    """The prior p(z) = N(0, I) of every model (K.4).

    Codes are float32 [..., latent_dim]; `log_prob` maps them to [...], nats.

    Raises:
      ValueError: `latent_dim` is not positive.
    """
    if latent_dim < 1:
        raise ValueError(f"latent_dim is {latent_dim}, expected 1 or more")
    return tfd.MultivariateNormalDiag(
        loc=tf.zeros([latent_dim]), scale_diag=tf.ones([latent_dim]), name="standard_normal"
    )
