"""VampPrior (Tomczak and Welling 2018): the aggregate posterior of learned pseudo-inputs,

    p(z) = 1/K Σ_k q(z|u_k),

a mixture of K diagonal Gaussians that the model's own encoder gives. Every density takes K passes
of the encoder, forward and, in training, backward: with a batch of B the encoder's share of a step
grows by the factor 1 + K/B. The mixture itself costs B K L.

Shapes: B batch, K pseudo-inputs, H W C image axes, L latent dimension.
"""

from __future__ import annotations

import dataclasses
import math

import keras
import tensorflow as tf

from tfdm.distributions.gaussian_mixture import choose_components
from tfdm.distributions.posteriors import GaussianPosterior
from tfdm.numerics import at_least_float32

# Standard deviation of the initial pseudo-inputs before the tanh; at zero all would be one image.
_START = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class VampMixture:
    """1/K Σ_k N(loc_k, diag(scale_k²)), loc and scale [K, L], a prior."""

    loc: tf.Tensor
    scale: tf.Tensor

    @property
    def latent_dim(self) -> int:
        """L."""
        return self.loc.shape[-1]

    def log_prob(self, codes: tf.Tensor) -> tf.Tensor:
        """Codes [..., L] -> log p(z) [...], nats, by way of [..., K, L]."""
        codes = at_least_float32(codes, "codes")
        each = GaussianPosterior(self.loc, self.scale).log_prob(codes[..., tf.newaxis, :])
        return tf.reduce_logsumexp(each, axis=-1) - math.log(self.loc.shape[0])

    def from_noise(self, noise: tf.Tensor) -> tf.Tensor:
        """Noise [B, L] -> codes [B, L]; the first coordinate chooses the component."""
        chosen, standard = choose_components(noise, tf.zeros(self.loc.shape[:1]))
        return tf.gather(self.loc, chosen) + tf.gather(self.scale, chosen) * standard


class PseudoInputs(keras.layers.Layer):
    """K trainable images in (-1, 1), the tanh of float32 weights."""

    def __init__(self, number: int, image_shape: tuple[int, int, int], seed: int) -> None:
        super().__init__(dtype="float32", name="pseudo_inputs")
        initializer = keras.initializers.RandomNormal(0.0, _START, seed=seed)
        shape = (number, *image_shape)
        self.raw = self.add_weight(shape=shape, initializer=initializer, name="raw")
        self.built = True

    def images(self) -> tf.Tensor:
        """Returns the images [K, H, W, C]."""
        return tf.tanh(tf.convert_to_tensor(self.raw))


class VampPrior(keras.layers.Layer):
    """The prior of an encoder images [-1, 1] [B, H, W, C] -> location and raw scale [B, 2L].

    Pseudo-inputs pass it in inference mode. `pseudo_inputs` is the layer of those alone.
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        latent_dim: int,
        image_shape: tuple[int, int, int],
        num_pseudo_inputs: int,
        seed: int,
    ) -> None:
        super().__init__(dtype="float32", name="vamp_prior")
        self.encoder, self.latent_dim = encoder, latent_dim
        self.pseudo_inputs = PseudoInputs(num_pseudo_inputs, image_shape, seed)
        self.built = True

    def current(self) -> VampMixture:
        """The mixture as it is now, which needs no encoder any more."""
        parameters = self.encoder(self.pseudo_inputs.images(), training=False)
        posterior = GaussianPosterior.from_parameters(parameters)
        return VampMixture(posterior.loc, posterior.scale)

    def log_prob(self, codes: tf.Tensor) -> tf.Tensor:
        """Codes [..., L] -> log p(z) [...], nats, differentiable in codes, encoder and images."""
        return self.current().log_prob(codes)

    def from_noise(self, noise: tf.Tensor) -> tf.Tensor:
        """Standard normal noise [B, L] -> codes [B, L] that follow p(z)."""
        return self.current().from_noise(noise)
