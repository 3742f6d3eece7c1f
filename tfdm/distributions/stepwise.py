"""Auto-regressive Gaussians by steps: Π_t N(z_t; loc_t(z_<t), scale_t(z_<t)²).

Such a density is a walk: a function that goes through the T steps and at each hands loc_t and
scale_t to `choose`, which says what z_t is, drawn from noise or given. DRAW's posterior and its
learned prior are two such walks.

Shapes: B batch, T steps, S latents of a step, L = T · S of a code.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import tensorflow as tf

from tfdm.distributions.posteriors import NoisePosterior
from tfdm.numerics import at_least_float32

Choose = Callable[[int, tf.Tensor, tf.Tensor], tf.Tensor]
Walk = Callable[[Choose], None]
# Rows that a posterior takes through its steps at once, if it has fewer images.
BLOCK_ROWS = 256


def stepwise_codes(walk: Walk, noise: tf.Tensor, num_steps: int) -> tf.Tensor:
    """Standard normal noise [B, L] -> codes [B, L], float32, that follow the walk's density."""
    parts = tf.split(tf.cast(noise, tf.float32), num_steps, axis=-1)
    codes: list[tf.Tensor] = []

    def choose(step: int, loc: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        codes.append(loc + scale * parts[step])
        return codes[-1]

    walk(choose)
    return tf.concat(codes, axis=-1)


def stepwise_log_prob(walk: Walk, codes: tf.Tensor, num_steps: int) -> tf.Tensor:
    """Codes [B, L] -> log-densities [B], nats; float64 sums when `codes` is."""
    codes = at_least_float32(codes, "codes")
    parts = tf.split(codes, num_steps, axis=-1)
    log_probs: list[tf.Tensor] = []

    def choose(step: int, loc: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        log_probs.append(tf.reduce_sum(gaussian_log_prob(parts[step], loc, scale), axis=-1))
        return tf.cast(parts[step], tf.float32)

    walk(choose)
    return tf.add_n(log_probs)


def gaussian_log_prob(codes: tf.Tensor, loc: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """log N(codes; loc, scale²) of each element, nats, in the precision of `codes`."""
    loc, scale = tf.cast(loc, codes.dtype), tf.cast(scale, codes.dtype)
    logs = -0.5 * tf.square((codes - loc) / scale) - tf.math.log(scale)
    return logs - 0.5 * math.log(2.0 * math.pi)


def gaussian_kl(
    loc: tf.Tensor, scale: tf.Tensor, prior_loc: tf.Tensor, prior_scale: tf.Tensor
) -> tf.Tensor:
    """KL[N(loc, scale²) ‖ N(prior_loc, prior_scale²)] of each element, nats."""
    ratio = scale / prior_scale
    distance = (loc - prior_loc) / prior_scale
    return 0.5 * (tf.square(ratio) + tf.square(distance) - 1.0) - tf.math.log(ratio)


@dataclasses.dataclass(frozen=True, eq=False)
class StepwisePosterior(NoisePosterior):
    """q(z|x) = Π_t q(z_t|z_<t, x) of B images; every pass over codes is a walk."""

    walk_of: Callable[[int], Walk]  # how often the B images stand in a row -> the walk of all
    batch_size: int | tf.Tensor  # B
    latent_dim: int  # L
    num_steps: int  # T

    @property
    def noise_shape(self) -> tuple[int | tf.Tensor, int]:
        """[B, L]."""
        return self.batch_size, self.latent_dim

    def from_noise(self, noise: tf.Tensor) -> tf.Tensor:
        """Noise [..., B, L] -> codes [..., B, L]."""
        return self._by_blocks(stepwise_codes, noise)

    def log_prob(self, codes: tf.Tensor) -> tf.Tensor:
        """Codes [..., B, L] -> log q(z|x) [..., B], nats, float64 when `codes` is.

        The codes may be of any images: the steps of image b are taken with those of [..., b, :].
        """
        return self._by_blocks(stepwise_log_prob, codes)

    def _by_blocks(self, function: Callable[..., tf.Tensor], arrays: tf.Tensor) -> tf.Tensor:
        """Applies a function of (walk, rows, T) to as many leading indices as a block holds."""
        arrays = tf.convert_to_tensor(arrays)
        leading = arrays.shape[:-2]
        count = leading.num_elements()
        known = isinstance(self.batch_size, int)
        each = max(1, BLOCK_ROWS // max(1, self.batch_size)) if known else 1
        passes, results = tf.reshape(arrays, [count, *self.noise_shape]), []
        for start in range(0, count, each):
            copies = min(each, count - start)
            rows = tf.reshape(passes[start : start + copies], [-1, self.latent_dim])
            results.append(function(self.walk_of(copies), rows, self.num_steps))
        joined = tf.concat(results, axis=0)
        return tf.reshape(joined, [*leading, self.batch_size, *joined.shape[1:]])
