"""The Wasserstein autoencoder (Tolstikhin et al., 2018; section 6.1).

    |x − x̂|² + λ D(q(z), p(z)),  x̂ = G(ẑ), ẑ ~ q(z|x)

The penalty D is the maximum mean discrepancy of a batch of codes from as many of the prior, or by
a code discriminator C as in the adversarial autoencoder, −log C(ẑ).
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
from tfdm.mmd import mmd
from tfdm.models.config import WAEConfig
from tfdm.training.inference import InferenceModel
from tfdm.training.noise import StepNoise
from tfdm.training.players import Terms
from tfdm.training.strategy import gathered


@keras.saving.register_keras_serializable(package="tfdm")
class WAE(InferenceModel):
    """Wasserstein autoencoder; players: autoencoder (and code_discriminator)."""

    config: WAEConfig
    config_class = WAEConfig

    def build_networks(self) -> None:
        config = self.config
        self.encoder = self.encoder_network()
        self.generator = self.generator_network()
        self.add_player("autoencoder", [self.encoder, self.generator], config.learning_rate)
        if config.penalty == "gan":
            self.code_discriminator = self.code_discriminator_network()
            rate = config.code_discriminator_learning_rate
            self.add_player("code_discriminator", [self.code_discriminator], rate)

    def player_losses(
        self, images: tf.Tensor, noise: StepNoise, training: bool
    ) -> tuple[Terms, Terms]:
        """Summed squared error plus λ times the penalty, and the code discriminator's loss."""
        codes = self.infer(images, training).from_noise(self.posterior_noise(noise))
        reconstructions = self.generator(codes, training=training)
        errors = reconstruction_error(images, reconstructions, "squared", "sum")
        error, prior_codes = tf.reduce_mean(errors), self.prior_codes(noise)
        losses: Terms = {}
        terms = {"reconstruction_error": error}
        if self.config.penalty == "mmd":
            # Every pair of the global batch counts, also that of two replicas.
            penalty = mmd(gathered(prior_codes), gathered(codes))
            terms["code_mmd"] = penalty
        else:
            prior_logits = self.code_discriminator(prior_codes)
            logits = self.code_discriminator(codes)
            penalty = tf.reduce_mean(non_saturating_loss(logits))
            losses["code_discriminator"] = discriminator_loss(prior_logits, logits)
            terms["code_adversarial"] = penalty
            terms["code_discriminator_accuracy"] = discriminator_accuracy(prior_logits, logits)
        losses["autoencoder"] = error + self.config.penalty_weight * penalty
        return losses, terms
