"""What the models share that map images to codes: the encoder and its three kinds.

A `deterministic` encoder is a function, a `gaussian` one gives the location and scale of a
diagonal Gaussian, an `implicit` one is a function of the image and noise: it can be sampled,
but has no density. Shapes: B batch, H W C image axes, L latent dimension, M noise dimension.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfdm.distributions.posteriors import (
    DeterministicPosterior,
    GaussianPosterior,
    ImplicitPosterior,
    NoisePosterior,
    Posterior,
)
from tfdm.networks import images as image_networks
from tfdm.numerics import batch_size, require_rank
from tfdm.seeds import derive
from tfdm.training.model import GenerativeModel, in_blocks, signature
from tfdm.training.noise import StepNoise, stateless_normal


class InferenceModel(GenerativeModel):
    """A generative model with an `encoder`, a network of images in [-1, 1] [B, H, W, C]."""

    has_encoder = True

    @property
    def encoder_kind(self) -> str:
        """`deterministic`, `gaussian` or `implicit`, by default the field of the configuration."""
        return getattr(self.config, "encoder", "deterministic")

    @property
    def noise_dim(self) -> int:
        """M, the dimension of the posterior's noise: the field of the configuration, else L."""
        return getattr(self.config, "noise_dim", None) or self.latent_dim

    def build_encoder(self) -> keras.Model:
        """Returns the encoder of the model's kind (Appendix K.5)."""
        sizes, make = (self.latent_dim, self.image_shape), self.layers_of("encoder")
        return image_networks.encoder(make, *sizes, self.encoder_kind, self.noise_dim)

    def encoder_network(self) -> keras.layers.Layer:
        """Images [B, H, W, C], and noise of an implicit encoder -> codes or parameters."""
        takes: list[tuple[int, ...]] = [self.image_shape]
        if self.encoder_kind == "implicit":
            takes.append((self.noise_dim,))
        outputs = image_networks.ENCODER_OUTPUTS.get(self.encoder_kind, 1) * self.latent_dim
        return self.network("encoder", self.build_encoder, takes, (outputs,))

    def joint_network(self, name: str, head_maps: int) -> keras.layers.Layer:
        """(Images [B, H, W, C], codes [B, L]) -> logits [B], under this name (Table 8)."""

        def build() -> keras.Model:
            sizes = self.latent_dim, self.image_shape, head_maps
            return image_networks.joint_discriminator(self.layers_of(name), *sizes)

        return self.network(name, build, [self.image_shape, (self.latent_dim,)], ())

    def infer(self, images: tf.Tensor, training: bool) -> NoisePosterior:
        """Returns q(z|x) of images in [-1, 1] [B, H, W, C], differentiable in the encoder."""
        if self.encoder_kind == "implicit":
            return ImplicitPosterior(
                lambda noise: self.encoder([images, noise], training=training),
                batch_size(images),
                self.noise_dim,
            )
        outputs = self.encoder(images, training=training)
        if self.encoder_kind == "deterministic":
            return DeterministicPosterior(outputs)
        return GaussianPosterior.from_parameters(outputs)

    def posterior_noise(self, noise: StepNoise, name: str = "posterior") -> tf.Tensor:
        """Returns the noise of the posterior in a training step, [B, M], from stream `name`."""
        return noise.normal(name, [self.noise_dim])

    def posterior(self, images: tf.Tensor) -> Posterior:
        """Returns q(z|x) of images, uint8 or in [0, 1], [n, H, W, C], asked by capability."""
        values = self._network_range(images)
        require_rank(values, 4, "images", "[n, H, W, C]")
        return self.infer(values, training=False)

    def encode(self, images: tf.Tensor, seed: int = 0) -> tf.Tensor:
        """Images, uint8 or in [0, 1], [n, H, W, C] -> codes ẑ ~ q(z|x), [n, L], given `seed`."""

        def encode(rows: tf.Tensor, start: int) -> tf.Tensor:
            posterior = self.posterior(rows)
            if not isinstance(posterior, NoisePosterior):
                # Its sample is a function of the seed alone: every block has one of its own.
                block_seed = derive(seed, "encode", start) if start else seed
                return posterior.sample(seed=block_seed)
            noise = stateless_normal([*posterior.noise_shape], seed, "posterior", start)
            return posterior.from_noise(noise)

        return in_blocks(encode, images)

    def reconstruct(self, images: tf.Tensor, seed: int = 0) -> tf.Tensor:
        """Images, uint8 or in [0, 1], [n, H, W, C] -> G(ẑ) in [0, 1], ẑ ~ q(z|x)."""
        return self.decode(self.encode(images, seed))

    def export_signatures(self) -> dict[str, dict[str, Callable[..., Any]]]:
        """Returns those of `GenerativeModel`, and `encoder`: `images` -> `z` [n, L].

        Where the posterior has them, `z` is its mean and `loc` and `scale` [n, L] its parameters;
        otherwise `z` is a fresh sample at every call.
        """

        def encode(images: tf.Tensor) -> dict[str, tf.Tensor]:
            posterior: Any = self.posterior(images)
            if hasattr(posterior, "loc"):  # Distinct outputs need distinct tensors.
                z = tf.identity(posterior.loc)
                return {"z": z, "loc": posterior.loc, "scale": posterior.scale}
            if not hasattr(posterior, "from_noise"):
                return {"z": posterior.sample()}
            return {"z": posterior.from_noise(tf.random.normal(posterior.noise_shape))}

        encoder = {"serving_default": signature(encode, self.image_shape, "images")}
        return {**super().export_signatures(), "encoder": encoder}
