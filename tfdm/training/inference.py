"""What the models share that map images to codes: the encoder and its three kinds.

A `deterministic` encoder is a function, a `gaussian` one gives the location and scale of a
diagonal Gaussian, an `implicit` one is a function of the image and noise: it can be sampled,
but has no density. Shapes: B batch, H W C image axes, L latent dimension.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from tfdm.distributions.posteriors import (
    DeterministicPosterior,
    GaussianPosterior,
    ImplicitPosterior,
    Posterior,
    gaussian_loc_and_scale,
    reparameterize,
)
from tfdm.networks import images as image_networks
from tfdm.training.model import GenerativeModel
from tfdm.training.noise import stateless_normal


class InferenceModel(GenerativeModel):
    """A generative model with an encoder.

    Attributes:
      encoder: the network images in [-1, 1] [B, H, W, C] -> codes or parameters.
      encoder_kind: `deterministic`, `gaussian` or `implicit`.
    """

    has_encoder = True

    @property
    def encoder_kind(self) -> str:
        """The kind of the encoder, by default the field of the configuration."""
        return getattr(self.config, "encoder", "deterministic")

    @property
    def has_posterior_density(self) -> bool:
        """Whether log q(z|x) can be evaluated."""
        return self.encoder_kind == "gaussian"

    def build_encoder(self) -> keras.Model:
        """Returns the encoder network of the model's kind."""
        return image_networks.encoder(
            self.layers_of("encoder"), self.latent_dim, self.image_shape, self.encoder_kind
        )

    def infer(self, images: tf.Tensor, epsilon: tf.Tensor, training: bool) -> tf.Tensor:
        """Draws ẑ ~ q(z|x).

        Args:
          images: [B, H, W, C] in [-1, 1].
          epsilon: standard normal noise [B, L]; a deterministic encoder does not look at it.
          training: whether batch norm uses the batch's moments.

        Returns:
          Codes, float32 [B, L], differentiable in the encoder's variables.
        """
        if self.encoder_kind == "implicit":
            return self.encoder([images, epsilon], training=training)
        outputs = self.encoder(images, training=training)
        if self.encoder_kind == "deterministic":
            return outputs
        loc, scale = gaussian_loc_and_scale(outputs)
        return reparameterize(loc, scale, epsilon)

    def encode(self, images: tf.Tensor, seed: int = 0) -> tf.Tensor:
        """Images, uint8 or in [0, 1], [n, H, W, C] -> codes ẑ ~ q(z|x), [n, L], given `seed`."""
        images = self._network_range(images)
        epsilon = stateless_normal([tf.shape(images)[0], self.latent_dim], seed, "posterior")
        return self.infer(images, epsilon, training=False)

    def posterior(self, images: tf.Tensor) -> Posterior:
        """Returns q(z|x) of images, uint8 or in [0, 1], [n, H, W, C]."""
        images = self._network_range(images)
        if self.encoder_kind == "implicit":
            return ImplicitPosterior(
                lambda noise: self.encoder([images, noise], training=False),
                tf.shape(images)[0],
                self.latent_dim,
            )
        outputs = self.encoder(images, training=False)
        if self.encoder_kind == "deterministic":
            return DeterministicPosterior(outputs)
        return GaussianPosterior.from_parameters(outputs)

    def reconstruct(self, images: tf.Tensor, seed: int = 0) -> tf.Tensor:
        """Images, uint8 or in [0, 1], [n, H, W, C] -> G(ẑ) in [0, 1], ẑ ~ q(z|x)."""
        return self.decode(self.encode(images, seed))
