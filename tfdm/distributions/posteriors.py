"""Posteriors q(z|x) of a batch of images, asked by capability, and the divergence from the prior.

All can `sample`; a Gaussian one has `log_prob`, `loc` and `scale` too. Their codes are a
differentiable function of standard normal noise, `from_noise`, by which a training step draws them.

Shapes: B batch, L latent dimension, M noise dimension.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import tensorflow as tf

from tfdm.distributions.priors import Prior, StandardNormal
from tfdm.numerics import at_least_float32, batch_size, require_rank, require_same_shape
from tfdm.training.noise import stateless_normal

# Far below it, float32 could not resolve epsilon in loc + scale * epsilon at |loc| of a few.
MINIMUM_SCALE = 1e-4
# softplus(SCALE_OFFSET) = 1: an encoder that says nothing starts at the prior.
SCALE_OFFSET = math.log(math.e - 1.0)


class Posterior(Protocol):
    """q(z|x) of B images; ask for more with `hasattr(posterior, "log_prob")` and `"loc"`."""

    def sample(self, sample_shape: Sequence[int] = (), seed: int = 0) -> tf.Tensor:
        """Returns codes [*sample_shape, B, L], a function of `seed`."""


class NoisePosterior:
    """A posterior whose codes are a function of standard normal noise."""

    @property
    def noise_shape(self) -> tuple[int | tf.Tensor, int]:
        """[B, M] of the noise that gives one code for each image."""
        raise NotImplementedError

    def from_noise(self, noise: tf.Tensor) -> tf.Tensor:
        """Standard normal noise [..., B, M] -> codes [..., B, L]."""
        raise NotImplementedError

    def sample(self, sample_shape: Sequence[int] = (), seed: int = 0) -> tf.Tensor:
        """Returns codes [*sample_shape, B, L], a function of `seed`."""
        shape = [*sample_shape, *self.noise_shape]
        return self.from_noise(stateless_normal(shape, seed, "posterior"))


@dataclasses.dataclass(frozen=True, eq=False)
class GaussianPosterior(NoisePosterior):
    """Diagonal Gaussians N(loc, diag(scale²)), both [B, L], scale > 0."""

    loc: tf.Tensor
    scale: tf.Tensor

    @classmethod
    def from_parameters(cls, parameters: tf.Tensor) -> GaussianPosterior:
        """The posterior of an encoder's outputs [B, 2L], by `gaussian_loc_and_scale`."""
        return cls(*gaussian_loc_and_scale(parameters))

    @property
    def noise_shape(self) -> tuple[int | tf.Tensor, int]:
        return batch_size(self.loc), self.loc.shape[-1]

    def from_noise(self, noise: tf.Tensor) -> tf.Tensor:
        """Noise [..., B, L] -> loc + scale * noise; `ValueError` where B or L differ."""
        loc = at_least_float32(self.loc, "loc")
        scale, epsilon = tf.cast(self.scale, loc.dtype), tf.cast(noise, loc.dtype)
        require_same_shape(loc=loc, scale=scale, noise=epsilon[(0,) * (epsilon.shape.rank - 2)])
        return loc + scale * epsilon

    def log_prob(self, codes: tf.Tensor) -> tf.Tensor:
        """Codes [..., B, L] -> log q(z|x) [..., B], nats, float64 when `codes` is."""
        codes = at_least_float32(codes, "codes")
        loc, scale = tf.cast(self.loc, codes.dtype), tf.cast(self.scale, codes.dtype)
        logs = -0.5 * tf.square((codes - loc) / scale) - tf.math.log(scale)
        return tf.reduce_sum(logs - 0.5 * math.log(2.0 * math.pi), axis=-1)


@dataclasses.dataclass(frozen=True, eq=False)
class ImplicitPosterior(NoisePosterior):
    """A function of the images and noise: it can be sampled, its density is not known."""

    draw: Callable[[tf.Tensor], tf.Tensor]  # noise [B, M] -> codes [B, L]
    batch_size: int | tf.Tensor  # B
    noise_dim: int  # M

    @property
    def noise_shape(self) -> tuple[int | tf.Tensor, int]:
        return self.batch_size, self.noise_dim

    def from_noise(self, noise: tf.Tensor) -> tf.Tensor:
        """Noise [..., B, M] -> codes [..., B, L], one pass for each leading index."""
        if noise.shape.rank == 2:
            return self.draw(noise)
        leading = noise.shape[:-2]
        rows = tf.unstack(tf.reshape(noise, [leading.num_elements(), *self.noise_shape]))
        codes = tf.stack([self.draw(row) for row in rows])
        return tf.reshape(codes, [*leading, self.batch_size, codes.shape[-1]])


@dataclasses.dataclass(frozen=True, eq=False)
class DeterministicPosterior(NoisePosterior):
    """A point mass at each image's code [B, L]: every sample is the same."""

    codes: tf.Tensor

    @property
    def noise_shape(self) -> tuple[int | tf.Tensor, int]:
        return batch_size(self.codes), 0

    def from_noise(self, noise: tf.Tensor) -> tf.Tensor:
        """Noise [..., B, any] -> the codes, once for each leading index."""
        if noise.shape.rank == 2:
            return self.codes
        return tf.broadcast_to(self.codes, [*noise.shape[:-2], *tf.unstack(tf.shape(self.codes))])


def gaussian_loc_and_scale(parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Splits an encoder's output [B, 2L] into loc and scale = softplus(raw + log(e - 1)) + 1e-4.

    An output of zero is N(0, 1), save for the floor, which keeps log scale finite and lies below
    the scales of real posteriors: it stands for a KL of 8.7 nats a dimension. Both are [B, L],
    float32 (float64 when `parameters` is); `ValueError` where the columns are not even in number.
    """
    parameters = at_least_float32(parameters, "parameters")
    require_rank(parameters, 2, "parameters", "[B, 2L]")
    columns = parameters.shape[-1]
    if columns is None or columns % 2 or not columns:
        raise ValueError(f"parameters have {columns} columns, expected 2L, an even number")
    loc, raw = tf.split(parameters, 2, axis=-1)
    return loc, tf.nn.softplus(raw + SCALE_OFFSET) + MINIMUM_SCALE


def gaussian_kl_to_standard_normal(loc: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """KL[N(loc, scale^2) || N(0, 1)] of each dimension [B, L], nats, the second term of equation 2.

    Not negative save for rounding; `ValueError` where the two shapes are not the same.
    """
    loc = at_least_float32(loc, "loc")
    scale = tf.cast(at_least_float32(scale, "scale"), loc.dtype)
    require_same_shape(loc=loc, scale=scale)
    return 0.5 * (tf.square(loc) + tf.square(scale) - 1.0) - tf.math.log(scale)


def kl_to_prior(posterior: Any, codes: tf.Tensor, prior: Prior) -> tf.Tensor:
    """KL[q(z|x) ‖ p(z)] of each image, [B], nats, from codes [B, L] of a posterior with `log_prob`.

    The closed form for a Gaussian posterior and the standard normal, otherwise the estimate
    log q(z|x) − log p(z) at one code, which is unbiased and differentiable in both.
    """
    # A subclass may be of another distribution.
    if type(posterior) is GaussianPosterior and type(prior) is StandardNormal:
        kl = gaussian_kl_to_standard_normal(posterior.loc, posterior.scale)
        return tf.reduce_sum(kl, axis=-1)
    return posterior.log_prob(codes) - prior.log_prob(codes)
