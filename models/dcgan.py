"""The generative adversarial network with the classifier's loss (section 3).

    max_D  E_{p*(x)} log D(x) + E_{p(z)} log(1 − D(G(z)))

and for the generator the non-saturating E −log D(G(z)) by default.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from tfdm import losses as density_ratios
from tfdm.models.config import DCGANConfig
from tfdm.networks import images as image_networks
from tfdm.networks.layouts import COLOR_MNIST_SIZE
from tfdm.training.model import GenerativeModel
from tfdm.training.noise import StepNoise
from tfdm.training.players import Terms

GENERATOR_LOSSES = {
    "non_saturating": density_ratios.non_saturating_loss,
    "saturating": density_ratios.saturating_loss,
    "reverse_kl": density_ratios.reverse_kl_loss,
}


@keras.saving.register_keras_serializable(package="tfdm")
class DCGAN(GenerativeModel):
    """GAN on the networks of Appendix K; players: generator, discriminator."""

    config: DCGANConfig
    config_class = DCGANConfig

    def build_networks(self) -> None:
        config = self.config
        self.generator = self.generator_network()
        self.discriminator = self.discriminator_network()
        self.has_dropout = len(getattr(self.discriminator, "inputs", None) or ()) > 1
        rate = config.dropout_rate
        if not self.has_dropout and rate not in (0.0, self.config_class.dropout_rate):
            shape = "x".join(map(str, self.image_shape))
            raise ValueError(f"dropout_rate is {rate}, and no layer for {shape} images has dropout")
        self.add_player("generator", [self.generator], config.generator_learning_rate)
        self.add_player("discriminator", [self.discriminator], config.discriminator_learning_rate)

    def build_discriminator(self) -> keras.Model:
        """Returns the discriminator, whose second input is the mask of the dropout (Table 6)."""
        dropout = self.image_shape[0] == COLOR_MNIST_SIZE and self.config.dropout_rate > 0.0
        make = self.layers_of("discriminator")
        return image_networks.discriminator(make, self.image_shape, dropout=dropout)

    def player_losses(
        self, images: tf.Tensor, noise: StepNoise, training: bool
    ) -> tuple[Terms, Terms]:
        """The cross entropy of the discriminator and the generator's loss on its samples."""
        codes = self.prior_codes(noise)
        samples = self.generator(codes, training=training)
        real_logits = self.discriminate(images, noise, "real", training)
        fake_logits = self.discriminate(samples, noise, "fake", training)
        generator_loss = GENERATOR_LOSSES[self.config.generator_loss]
        losses = {
            "generator": tf.reduce_mean(generator_loss(fake_logits)),
            "discriminator": density_ratios.discriminator_loss(real_logits, fake_logits),
        }
        accuracy = density_ratios.discriminator_accuracy(real_logits, fake_logits)
        return losses, {"discriminator_accuracy": accuracy}

    def discriminate(
        self, images: tf.Tensor, noise: StepNoise, name: str, training: bool
    ) -> tf.Tensor:
        """Images [B, H, W, C] in [-1, 1] -> logits [B]; `name` is the stream of the dropout."""
        if not self.has_dropout:
            return self.discriminator(images, training=training)
        shape = list(self.discriminator.inputs[1].shape[1:])
        rate = self.config.dropout_rate if training else 0.0
        mask = noise.keep_mask(f"dropout_{name}", shape, rate)
        return self.discriminator([images, mask], training=training)
