"""A mixture of diagonal Gaussians with learned weights, q(z) = Σ_k π_k N(z; μ_k, σ_k²) (A.4).

Shapes: B batch, K components, L latent dimension.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfdm.distributions.densities import Density, moments, sample_seed
from tfdm.numerics import inverse_softplus

# A component may not collapse onto a point.
MINIMUM_SCALE = 1e-3
# How far the means stand from the mean of the data at the start, in units of a code's own distance.
_SPREAD = 0.5
_START = math.sqrt(1.0 - _SPREAD**2)


@keras.saving.register_keras_serializable(package="tfdm")
class DiagonalGaussianMixture(Density):
    """K diagonal Gaussians; the paper has 10, 50 and 100."""

    def __init__(
        self, num_latents: int, num_components: int = 100, seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(num_latents, seed, {"num_components": num_components}, **kwargs)
        self.num_components = num_components
        shape = (num_components, num_latents)
        start = keras.initializers.Constant(float(inverse_softplus(_START)))
        self.logits = self.add_weight(shape[:1], "zeros", name="logits")
        self.loc = self.add_weight(shape, self.initializer(1.0, 0), name="loc")
        self.raw_scale = self.add_weight(shape, start, name="raw_scale")
        self.built = True

    @property
    def distribution(self) -> tfd.Distribution:
        """The mixture as it is now."""
        scale = tf.nn.softplus(tf.convert_to_tensor(self.raw_scale)) + MINIMUM_SCALE
        return tfd.MixtureSameFamily(
            tfd.Categorical(logits=tf.convert_to_tensor(self.logits)),
            tfd.MultivariateNormalDiag(tf.convert_to_tensor(self.loc), scale),
        )

    def log_prob(self, codes: tf.Tensor) -> tf.Tensor:
        return self.distribution.log_prob(tf.cast(codes, tf.float32))

    def from_noise(self, noise: tf.Tensor) -> tf.Tensor:
        """Noise [B, L] -> codes [B, L]; the first coordinate chooses the component."""
        chosen, standard = choose_components(noise, self.logits.value)
        components = self.distribution.components_distribution
        loc, scale = components.mean(), components.stddev()
        return tf.gather(loc, chosen) + tf.gather(scale, chosen) * standard

    def sample(self, num: int, seed: int = 0) -> tf.Tensor:
        return self.distribution.sample(num, seed=sample_seed(seed))

    def initialize(self, codes: npt.ArrayLike, seed: int = 0) -> None:
        """Puts the means halfway between the mean of codes [S, L] and single ones of them.

        With the scales that go with it, the mixture has the moments of the codes.
        """
        codes = np.asarray(codes, np.float32)
        loc, scale = moments(codes)
        rows = np.random.default_rng(seed).integers(len(codes), size=self.num_components)
        self.loc.assign(loc + _SPREAD * (codes[rows] - loc))
        raw = inverse_softplus(np.maximum(_START * scale - MINIMUM_SCALE, MINIMUM_SCALE))
        self.raw_scale.assign(np.broadcast_to(raw, self.raw_scale.shape))
        self.logits.assign(np.zeros(self.num_components, np.float32))


def choose_components(noise: tf.Tensor, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Splits noise into a component of each code and independent noise of the same shape.

    u = Φ(ε_1) is uniform on [0, 1], and the shares of the components, as long as their weights,
    cut that interval up: component k is chosen with probability π_k. Given k, the place of u
    within the share is uniform on [0, 1] whatever k is, so that Φ⁻¹ of it is standard normal and
    independent of k. It takes the place of ε_1.

    Args:
      noise: standard normal noise [B, L].
      logits: log π_k [K], up to a constant.

    Returns:
      The components [B], and noise [B, L], float32.
    """
    noise = tf.cast(noise, tf.float32)
    uniform = 0.5 * tf.math.erfc(tf.cast(noise[:, 0], tf.float64) / -math.sqrt(2.0))
    ends = tf.cumsum(tf.nn.softmax(tf.cast(logits, tf.float64)))
    chosen = tf.searchsorted(ends[:-1], uniform, side="right")
    starts = tf.concat([[np.float64(0.0)], ends[:-1]], axis=0)
    start, end = tf.gather(starts, chosen), tf.gather(ends, chosen)
    # The ends of a share would be infinite codes.
    place = tf.clip_by_value((uniform - start) / (end - start), 1e-12, 1.0 - 1e-12)
    first = tf.cast(tf.math.ndtri(place), tf.float32)
    return chosen, tf.concat([first[:, tf.newaxis], noise[:, 1:]], axis=1)
