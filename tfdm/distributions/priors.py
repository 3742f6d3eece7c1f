"""Priors p(z) over codes: the contract, and the standard normal of every model of the paper (K.4).

A prior turns standard normal noise into codes, so that whoever draws the noise decides on the
random stream. A learned prior is a Keras layer, such as the densities of this package.

Shapes: n codes, L latent dimension.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Protocol

import tensorflow as tf

from tfdm.numerics import at_least_float32


class Prior(Protocol):
    """p(z) over codes [L], asked with float32 tensors; perhaps `entropy() -> scalar`, nats."""

    @property
    def latent_dim(self) -> int:
        """L."""

    def log_prob(self, codes: tf.Tensor) -> tf.Tensor:
        """Codes [..., L] -> log p(z) [...], nats."""

    def from_noise(self, noise: tf.Tensor) -> tf.Tensor:
        """Standard normal noise [n, L] -> codes [n, L] that follow p(z)."""


@dataclasses.dataclass(frozen=True)
class StandardNormal:
    """N(0, I) of dimension L = `latent_dim`; `ValueError` below 1."""

    latent_dim: int

    def __post_init__(self) -> None:
        if self.latent_dim < 1:
            raise ValueError(f"latent_dim is {self.latent_dim}, expected 1 or more")

    def log_prob(self, codes: tf.Tensor) -> tf.Tensor:
        """Codes [..., L] -> log p(z) [...], nats, float32 (float64 when `codes` is)."""
        codes = at_least_float32(codes, "codes")
        constant = 0.5 * self.latent_dim * math.log(2.0 * math.pi)
        return -0.5 * tf.reduce_sum(tf.square(codes), axis=-1) - constant

    def from_noise(self, noise: tf.Tensor) -> tf.Tensor:
        """The noise itself."""
        return tf.convert_to_tensor(noise)

    def entropy(self) -> tf.Tensor:
        """L (1 + log 2π) / 2 nats."""
        return tf.constant(0.5 * self.latent_dim * (1.0 + math.log(2.0 * math.pi)))


def prior_entropy(prior: Prior, codes: tf.Tensor) -> tf.Tensor:
    """The entropy of p(z), nats: in closed form where there is one, else by codes [n, L] of it."""
    entropy = getattr(prior, "entropy", None)
    return -tf.reduce_mean(prior.log_prob(codes)) if entropy is None else entropy()
