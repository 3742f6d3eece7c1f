"""The adversarial autoencoder (Makhzani et al., 2015; section 6.1).

The code discriminator C replaces the KL term: the encoder sends codes that C takes for the
prior's, with the non-saturating loss −log C(ẑ), beside the squared reconstruction error.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from tfdm.losses import (
    discriminator_accuracy,
    discriminator_loss,
    non_saturating_loss,
    reconstruction_error,
)
from tfdm.models.config import AAEConfig
from tfdm.training.inference import InferenceModel
from tfdm.training.noise import StepNoise
from tfdm.training.players import Terms


@keras.saving.register_keras_serializable(package="tfdm")
class AAE(InferenceModel):
    """Adversarial autoencoder; players: encoder, generator, code_discriminator."""

    config: AAEConfig
    config_class = AAEConfig

    def build_networks(self) -> None:
        config = self.config
        self.encoder = self.encoder_network()
        self.generator = self.generator_network()
        self.code_discriminator = self.code_discriminator_network()
        self.add_player("encoder", [self.encoder], config.learning_rate)
        self.add_player("generator", [self.generator], config.learning_rate)
        rate = config.code_discriminator_learning_rate
        self.add_player("code_discriminator", [self.code_discriminator], rate)

    def player_losses(
        self, images: tf.Tensor, noise: StepNoise, training: bool
    ) -> tuple[Terms, Terms]:
        """Squared error for encoder and generator, −log C(ẑ) for the encoder, eq. 13 for C."""
        config = self.config
        codes = self.infer(images, training).from_noise(self.posterior_noise(noise))
        reconstructions = self.generator(codes, training=training)
        reduction = config.reconstruction_reduction
        errors = reconstruction_error(images, reconstructions, "squared", reduction)
        prior_logits = self.code_discriminator(self.prior_codes(noise))
        code_logits = self.code_discriminator(codes)

        reconstruction = config.reconstruction_weight * tf.reduce_mean(errors)
        adversarial = tf.reduce_mean(non_saturating_loss(code_logits))
        losses = {
            "encoder": reconstruction + adversarial,
            "generator": reconstruction,
            "code_discriminator": discriminator_loss(prior_logits, code_logits),
        }
        terms = {
            "reconstruction_error": tf.reduce_mean(errors),
            "code_adversarial": adversarial,
            "code_discriminator_accuracy": discriminator_accuracy(prior_logits, code_logits),
        }
        return losses, terms
